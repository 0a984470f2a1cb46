"""The options of the kernels of a Jupyter Server: jupyter_server's own, and those that only we have."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from ...options import OPTIONS, KernelsOptions, Option
from ...serving.serving_limits import MESSAGE_BOUNDS, ServingLimits

if TYPE_CHECKING:
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from traitlets.config import Config

RATE_SECTIONS = ("ZMQChannelsWebsocketConnection", "FpsWebSocketConnection")
"""The sections of a configuration that limit the rates of iopub messages; the later one counts."""

OWN_OPTIONS = (
    "prewarm",
    "start_answer_s",
    "restart_answer_s",
    "restart_window_s",
    "max_kernels",
    "max_clients_per_kernel",
    "buffer_max_messages",
    "buffer_max_bytes",
    "buffer_max_age_s",
    "client_max_bytes",
    "page_text_wait_s",
    "heartbeat_interval_s",
    "heartbeat_timeout_s",
    "external_heartbeat_timeout_s",
    "verify_signatures",
    "keep_kernels",
    "state_dir",
    "orphan_timeout_s",
    "traces",
)
"""The kernels' options that are traits of FpsMappingKernelManager."""

MESSAGE_OPTION = Option(
    "ws_max_message_bytes",
    Annotated[int, MESSAGE_BOUNDS],
    ServingLimits().max_message_bytes,
    "Size of the largest message that a client may send to a kernel; a longer one is closed with 1009. "
    "`websocket_max_message_size` in `ServerApp.tornado_settings` wins, and bounds all other WebSockets, too.",
    unit="bytes",
)
HOSTED_OPTIONS = MappingProxyType(
    {**{name: OPTIONS[name] for name in OWN_OPTIONS}, MESSAGE_OPTION.name: MESSAGE_OPTION}
)
"""All traits of FpsMappingKernelManager: those of the kernels, and one that only this host needs."""


def kernels_options(manager: AsyncMappingKernelManager) -> KernelsOptions:
    """Return the values of all options for the kernels of a server."""
    values: dict[str, Any] = {name: getattr(manager, name) for name in OWN_OPTIONS}
    if not manager.buffer_offline_messages:
        values |= {"buffer_max_messages": 1, "buffer_max_bytes": 1, "buffer_max_age_s": 0.001}
    return KernelsOptions(
        **values,
        root_dir=manager.root_dir,
        **_rates(manager.config),
        startup_timeout_s=manager.kernel_info_timeout,
        allowed_message_types=list(manager.allowed_message_types) or None,
        allow_tracebacks=manager.allow_tracebacks,
        traceback_replacement_message=manager.traceback_replacement_message,
        **_untracked(manager),
    )


def _untracked(manager: AsyncMappingKernelManager) -> dict[str, Any]:
    """What jupyter_server says of messages that are no activity, where it has that option."""
    types = getattr(manager, "untracked_message_types", None)
    return {} if types is None else {"untracked_message_types": list(types)}


def _rates(config: Config) -> dict[str, Any]:
    """The limits that somebody has set. jupyter_server's defaults drop what kernels put out, and are none of ours."""
    found: dict[str, Any] = {}
    for section in RATE_SECTIONS:
        found |= {name: config[section][name] for name in config[section]} if section in config else {}
    if not found.get("limit_rate", True):
        return {}
    names = {
        "iopub_msg_rate_limit": "iopub_msg_rate_limit",
        "iopub_data_rate_limit": "iopub_data_rate_limit",
        "rate_limit_window": "rate_limit_window_s",
    }
    return {ours: float(found[theirs]) for theirs, ours in names.items() if theirs in found}
