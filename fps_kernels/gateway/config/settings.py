"""The values of the gateway's options, checked, as its parts take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...options import KernelsOptions
from ...serving.access.access_policy import AccessPolicy
from ...serving.serving_limits import ServingLimits
from ...serving.sockets import Listening


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what.

    policy: what requests have to show, and from where they may come.
    cors: headers of every response.
    allowed_open: whether to serve other machines though there is no token, or a short one.
    """

    policy: AccessPolicy
    cors: Mapping[str, str]
    allowed_open: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings.

    metrics_ip, metrics_port: where the numbers are served without a token; a port of None for nowhere.
    base_url: the path of the API; it begins and ends with a slash, and is escaped as in a URL.
    no_activity_timeout_s: seconds after which the server ends if nobody uses it; 0: never.
    """

    listening: Listening
    serving: ServingLimits
    access: Access
    metrics_ip: str
    metrics_port: int | None
    base_url: str
    api: str
    list_kernels: bool
    prespawn_count: int
    seed_uri: str | None
    seed_cell_timeout_s: float
    force_kernel_name: str
    default_kernel_name: str
    env_process_names: tuple[str, ...]
    no_activity_timeout_s: float
    kernels: KernelsOptions
