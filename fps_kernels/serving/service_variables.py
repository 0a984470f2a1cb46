"""Environment variables that Kubernetes makes for services, and that may look like options. Pure.

For a service named kg, each pod of its namespace has KG_PORT=tcp://10.0.0.1:8888, KG_SERVICE_HOST and more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

SERVICES = ("kg", "kernel-gateway", "fps-kernels")
"""Names of services whose variables begin like those of options, or like those that kernels get."""
_URL = re.compile(r"(?:tcp|udp|sctp)://\S+")
_NAMES = r"_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"


def is_of_service(name: str, text: str) -> bool:
    """Whether a variable was made for a service: it says where the service is."""
    return name.endswith("_PORT") and _URL.fullmatch(text) is not None


def service_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each service that has variables here."""
    for service in SERVICES:
        prefix = service.upper().replace("-", "_")
        if is_of_service(f"{prefix}_PORT", environ.get(f"{prefix}_PORT", "")):
            made = sorted(name for name in environ if re.fullmatch(prefix + _NAMES, name))
            yield (
                f"Passing over {', '.join(made)}: Kubernetes has made them for a service named {service} "
                "(enableServiceLinks: false in the pod's specification avoids that)"
            )
