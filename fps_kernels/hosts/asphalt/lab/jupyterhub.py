"""`fps-kernels lab` as the server of a user of JupyterHub: what the Hub says of it in the environment. Pure.

The address, the port, the prefix and the Hub's own TLS are taken from there. The Hub's login is not: a browser that
comes by way of the Hub is asked for this server's token or password, which no variable of the Hub can switch off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ....errors import BadOption

SERVICE_URL = "JUPYTERHUB_SERVICE_URL"
SERVICE_PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
TLS = {
    "certfile": "JUPYTERHUB_SSL_CERTFILE",
    "keyfile": "JUPYTERHUB_SSL_KEYFILE",
    "client_ca": "JUPYTERHUB_SSL_CLIENT_CA",
}
WITHOUT_EFFECT = ("JUPYTERHUB_ROOT_DIR", "JUPYTERHUB_DEFAULT_URL", "JUPYTERHUB_ACTIVITY_URL")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HubServer:
    """What the Hub wants of a server.

    defaults: the values of this command's options, by their names, where the user gives none.
    prefix: the path that all paths begin with, escaped as in a URL.
    without_effect: the variables that are set, and mean nothing here.
    """

    defaults: Mapping[str, Any]
    prefix: str
    without_effect: tuple[str, ...]


def hub_server(environ: Mapping[str, str]) -> HubServer | None:
    """None where no Hub has started this process. Raises BadOption, which names the variable."""
    url = environ.get(SERVICE_URL, "")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise BadOption(f"{SERVICE_URL}={url}: not of the form http://ADDRESS:PORT/PREFIX/") from None
    prefix = (environ.get(SERVICE_PREFIX) or parts.path).strip("/")
    defaults: dict[str, Any] = {
        "ip": parts.hostname or "127.0.0.1",
        "port": port,
        "port_retries": 0,  # the Hub looks nowhere else
        "allow_remote_access": True,  # it is called by the name of the Hub
    }
    defaults |= {name: environ[variable] for name, variable in TLS.items() if environ.get(variable)}
    without_effect = tuple(name for name in WITHOUT_EFFECT if environ.get(name))
    return HubServer(defaults, f"/{prefix}/" if prefix else "/", without_effect)
