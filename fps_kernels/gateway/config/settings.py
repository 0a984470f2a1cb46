"""What the gateway was told, checked: from traits to the values that its parts take."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from traitlets.config import Application, Configurable

from ...errors import BadOption
from ...options import KernelsOptions, out_of_bounds
from ...serving.sockets import Listening
from ...serving.tls import tls_context

if TYPE_CHECKING:
    from ..app import KernelGatewayApp

SEED_ANSWER_S = 86_400.0
"""A kernel is handed out when its seed has run, however long that takes; each cell has a bound of its own."""
CORS_HEADERS = {
    "allow_credentials": "Access-Control-Allow-Credentials",
    "allow_headers": "Access-Control-Allow-Headers",
    "allow_methods": "Access-Control-Allow-Methods",
    "allow_origin": "Access-Control-Allow-Origin",
    "expose_headers": "Access-Control-Expose-Headers",
    "max_age": "Access-Control-Max-Age",
}
Source = tuple[Configurable, str]
"""Where a value comes from: whose trait, and which."""
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what. token: "" for everybody. cors: headers of every response."""

    token: str = field(repr=False)
    cors: Mapping[str, str]
    allow_origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. base_url: begins and ends with a slash, escaped as in a URL."""

    listening: Listening
    access: Access
    base_url: str
    api: str
    list_kernels: bool
    prespawn_count: int
    seed_uri: str | None
    seed_cell_timeout_s: float
    force_kernel_name: str
    default_kernel_name: str
    env_process_names: tuple[str, ...]
    kernels: KernelsOptions


def read(app: KernelGatewayApp) -> Settings:
    """Raises BadOption, which names the option and its value."""
    from .traits import JupyterWebsocketPersonality, KernelManager, KernelSpecManager, SeedingMappingKernelManager

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of unknown options, which unknown_options has told
        manager = SeedingMappingKernelManager(parent=app)
        process = KernelManager(parent=app)
        specs = KernelSpecManager(parent=app)
        personality = JupyterWebsocketPersonality(parent=app)
    if not 0 <= app.port <= 65535:
        raise BadOption(f"port={app.port}: not a port, 0 to 65535")
    if app.port_retries < 0:
        raise BadOption(f"port_retries={app.port_retries}: less than 0")
    if app.ws_ping_interval < 0:
        raise BadOption(f"ws_ping_interval={app.ws_ping_interval}: less than 0")
    if not (app.seed_cell_timeout > 0 and isfinite(app.seed_cell_timeout)):  # not inf: a loop cannot wait so long
        raise BadOption(f"seed_cell_timeout={app.seed_cell_timeout:g}: not a number of seconds greater than 0")
    prespawn_count = app.prespawn_count or 0
    if prespawn_count < 0:
        raise BadOption(f"prespawn_count={prespawn_count}: less than 0")
    if prespawn_count and app.max_kernels is not None and prespawn_count > app.max_kernels:
        raise BadOption(f"prespawn_count={prespawn_count}: more than max_kernels={app.max_kernels}")
    sources: dict[str, Source] = {
        "root_dir": (manager, "root_dir"),
        "max_kernels": (app, "max_kernels"),
        "prewarm": (app, "prewarm"),
        "startup_timeout_s": (manager, "kernel_info_timeout"),
        "shutdown_wait_time_s": (process, "shutdown_wait_time"),
        "transport_encryption": (process, "transport_encryption"),
        "cull_idle_timeout_s": (manager, "cull_idle_timeout"),
        "cull_interval_s": (manager, "cull_interval"),
        "cull_connected": (manager, "cull_connected"),
        "cull_busy": (manager, "cull_busy"),
    }
    options: dict[str, Any] = {
        "default_kernel": _native(app.default_kernel_name or manager.default_kernel_name),
        "allowed_kernelspecs": sorted(specs.allowed_kernelspecs | specs.whitelist),
        "allowed_message_types": manager.allowed_message_types or None,
        "client_env": [*personality.env_whitelist, *personality.client_envs],
        "allow_origin": ["*"],  # OriginCheck has checked the origin already, and accepts more spellings
    }
    if app.seed_uri:
        options["start_answer_s"] = SEED_ANSWER_S
    if not process.autorestart:
        options["restart_limit"] = 0
    return Settings(
        listening=Listening(
            app.ip,
            app.port,
            app.port_retries,
            app.trust_xheaders,
            app.ws_ping_interval,
            tls_context(app.certfile, app.keyfile, app.client_ca, app.ssl_version),
        ),
        access=Access(
            app.auth_token,
            _cors(app),
            app.allow_origin,
        ),
        base_url=_base_url(app.base_url),
        api=app.api,
        list_kernels=personality.list_kernels,
        prespawn_count=prespawn_count,
        seed_uri=app.seed_uri,
        seed_cell_timeout_s=app.seed_cell_timeout,
        force_kernel_name=_native(app.force_kernel_name),
        default_kernel_name=_native(app.default_kernel_name),
        env_process_names=tuple(app.env_process_whitelist),
        kernels=_kernels(sources, options),
    )


def _kernels(sources: Mapping[str, Source], options: Mapping[str, Any]) -> KernelsOptions:
    """Raises BadOption; the names of the component's own options mean nothing to users of the gateway."""
    values = {name: getattr(owner, trait) for name, (owner, trait) in sources.items()}
    wrong = [(name, problem) for name, value in values.items() if (problem := out_of_bounds(name, value)) is not None]
    if wrong:
        raise BadOption("; ".join(f"{spelling(*sources[name])}={_shown(values[name])}: {why}" for name, why in wrong))
    return KernelsOptions(**values, **options)


def spelling(owner: Configurable, trait: str) -> str:
    """An option as the user wrote it: with the class it is set for, which may be an ancestor.

    The application's own need no class, as they may come from an alias or a variable.
    """
    if isinstance(owner, Application):
        return trait
    names = [cls.__name__ for cls in type(owner).mro()]
    set_for = next((name for name in names if trait in owner.config.get(name, {})), names[0])
    return f"{set_for}.{trait}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _native(kernel_name: str) -> str:
    return "python3" if kernel_name == "python" else kernel_name


def _base_url(text: str) -> str:
    path = "/".join(filter(None, unquote(text).split("/")))
    return quote(f"/{path}/") if path else "/"


def _cors(app: KernelGatewayApp) -> dict[str, str]:
    """Verbatim; what cannot stand in a header would break every response."""
    cors = {}
    for name, header in CORS_HEADERS.items():
        value = getattr(app, name).strip()
        if not _HEADER_VALUE.fullmatch(value):
            raise BadOption(f"{name}={value!r}: cannot be the value of a header")
        if value:
            cors[header] = value
    return cors
