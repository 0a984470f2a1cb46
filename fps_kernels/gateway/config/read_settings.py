"""From the gateway's options, as traits, to checked settings."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

from traitlets.config import Application, Configurable

from ...errors import BadOption
from ...kernels.launch_environment import compile_pattern
from ...options import OPTIONS, KernelsOptions
from ...serving.access.access_policy import AccessPolicy
from ...serving.access.credentials import ProxyUsers
from ...serving.access.host_names import LocalNames
from ...serving.access.secret_file import read_secret
from ...serving.given_sockets import given_sockets
from ...serving.origin import AllowedOrigins
from ...serving.serving_limits import ServingLimits
from ...serving.sockets import Listening, is_public
from ...serving.tls import tls_context
from ...serving.unix_socket import absolute_path, host_of, parse_mode
from .gateway_options import KernelGatewayApp
from .settings import Access, Settings
from .traits import (
    JupyterWebsocketPersonality,
    KernelManager,
    KernelProvisionerFactory,
    KernelSpecManager,
    SeedingMappingKernelManager,
    class_options,
)

SEED_ANSWER_S = 86_400.0
"""A kernel is handed out when its seed has run, however long that takes; each cell has a timeout of its own."""
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def read(app: KernelGatewayApp) -> Settings:
    """Raises BadOption, which names the option and its value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of unknown options: unknown_options has named them
        manager = SeedingMappingKernelManager(parent=app)
        process = KernelManager(parent=app)
        specs = KernelSpecManager(parent=app)
        provisioners = KernelProvisionerFactory(parent=app)
        personality = JupyterWebsocketPersonality(parent=app)
    given = given_sockets(os.environ)
    given.replace(app)
    owners = (manager, process, specs, provisioners, app)
    _check(*owners)
    compile_pattern(app.kernel_env_pattern)
    prespawn_count = app.prespawn_count or 0
    if prespawn_count and app.max_kernels is not None and prespawn_count > app.max_kernels:
        raise BadOption(f"prespawn_count={prespawn_count}: more than max_kernels={app.max_kernels}")
    kernels: dict[str, Any] = {
        trait.metadata["kernels_option"]: getattr(owner, name)
        for owner in owners
        for name, trait in owner.traits(kernels_option=lambda option: option is not None).items()
    }
    kernels |= {
        "default_kernel": _native(app.default_kernel_name or manager.default_kernel_name),
        "allowed_kernelspecs": sorted(specs.allowed_kernelspecs | specs.whitelist),
        "allowed_message_types": manager.allowed_message_types or None,
        "class_options": class_options(app.config),
        "client_env": [*personality.env_whitelist, *personality.client_envs],
    }
    if app.seed_uri:
        kernels["start_answer_s"] = kernels["restart_answer_s"] = SEED_ANSWER_S
    if not process.autorestart:
        kernels["restart_limit"] = 0
    tls = tls_context(app.certfile, app.keyfile, app.client_ca, app.ssl_version)
    return Settings(
        listening=Listening(
            app.ip,
            app.port,
            app.port_retries,
            app.trust_xheaders,
            app.ws_ping_interval,
            tls,
            sock=absolute_path(app.sock),
            sock_mode=parse_mode(app.sock_mode, "sock_mode"),
            given=given.socks,
        ),
        serving=ServingLimits(
            max_connections=app.max_connections,
            max_message_bytes=app.ws_max_message_bytes,
            keep_alive_s=app.keep_alive_s,
            head_timeout_s=app.head_timeout_s,
        ),
        access=Access(_policy(app), _cors(app), app.allow_open_access),
        metrics_ip=app.metrics_ip,
        metrics_port=app.metrics_port,
        base_url=_base_url(app.base_url),
        api=app.api,
        list_kernels=personality.list_kernels,
        prespawn_count=prespawn_count,
        seed_uri=app.seed_uri,
        seed_cell_timeout_s=app.seed_cell_timeout,
        force_kernel_name=_native(app.force_kernel_name),
        default_kernel_name=_native(app.default_kernel_name),
        env_process_names=tuple(app.env_process_whitelist),
        no_activity_timeout_s=app.shutdown_no_activity_timeout,
        kernels=KernelsOptions(**kernels),
    )


def _policy(app: KernelGatewayApp) -> AccessPolicy:
    """Who may come in. Raises BadOption."""
    token = app.auth_token
    if not token and app.auth_token_file:
        token = read_secret(app.auth_token_file, "auth_token_file")
    if bool(app.proxy_user_header) != bool(app.proxy_secret_file):
        raise BadOption("proxy_user_header and proxy_secret_file: both are needed, or none")
    proxy = None
    if app.proxy_user_header:
        proxy = ProxyUsers(app.proxy_user_header.lower(), read_secret(app.proxy_secret_file, "proxy_secret_file"))
    sock = absolute_path(app.sock)
    is_local = (bool(sock) or not is_public(app.ip)) and not app.allow_remote_access
    names = [*app.local_hostnames, host_of(sock)]
    return AccessPolicy(
        token=token,
        proxy=proxy,
        client_certificates=app.client_ca is not None,
        origins=AllowedOrigins.parse([app.allow_origin], app.allow_origin_pat),
        # Who has the token may come by any name, as clients of the original do.
        local_names=LocalNames.parse(names) if is_local and not (token or proxy) else None,
        foreign_status=404,
    )


def _check(*owners: Configurable) -> None:
    """Raises BadOption, which names all numbers that are out of bounds."""
    wrong = [problem for owner in owners for problem in _out_of_bounds(owner)]
    if wrong:
        raise BadOption("; ".join(wrong))


def _out_of_bounds(owner: Configurable) -> Iterator[str]:
    for name, trait in owner.traits(config=True).items():
        value = getattr(owner, name)
        problem = None
        if (option := trait.metadata.get("kernels_option")) is not None:
            problem = OPTIONS[option].violation(value)
        elif (bounds := trait.metadata.get("bounds")) is not None and value is not None:
            # Infinity is for the kernels' options only: an event loop cannot wait that long.
            problem = bounds.violation_if_finite(value)
        if problem is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            yield f"{spelling(owner, name)}={shown}: {problem}"


def spelling(owner: Configurable, trait: str) -> str:
    """An option as the user wrote it: with the class it is set for, which may be an ancestor.

    The application's own need no class, as they may come from an alias or a variable.
    """
    if isinstance(owner, Application):
        return trait
    names = [cls.__name__ for cls in type(owner).mro()]
    set_for = next((name for name in names if trait in owner.config.get(name, {})), names[0])
    return f"{set_for}.{trait}"


def _native(kernel_name: str) -> str:
    return "python3" if kernel_name == "python" else kernel_name


def _base_url(text: str) -> str:
    path = "/".join(filter(None, unquote(text).split("/")))
    return quote(f"/{path}/") if path else "/"


def _cors(app: KernelGatewayApp) -> dict[str, str]:
    """The CORS headers, verbatim. Raises BadOption for what cannot stand in a header: it would break every response."""
    cors = {}
    for name, trait in app.traits(cors_header=lambda header: header is not None).items():
        value = getattr(app, name).strip()
        if not _HEADER_VALUE.fullmatch(value):
            raise BadOption(f"{name}={value!r}: cannot be the value of a header")
        if value:
            cors[trait.metadata["cors_header"]] = value
    return cors
