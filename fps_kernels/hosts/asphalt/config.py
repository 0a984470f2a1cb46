"""The configuration of the kernels component: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any, Literal, Self

from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig
from pydantic import Field, NonNegativeInt, ValidationError

from ...errors import FPSKernelsError
from ...options import OPTIONS, KernelsOptions


class InvalidConfiguration(FPSKernelsError):
    """A value of the configuration is wrong; the message names it, in one line."""


def _field(name: str) -> Any:
    """The option of that name: its default, its bounds, its description."""
    option = OPTIONS[name]
    default = option.default if option.default_factory is MISSING else option.default_factory()
    return Field(default=default, **option.metadata)


class KernelsConfig(JupyverseKernelsConfig):
    """All options, with their units in their names; see README.md for the same table."""

    default_kernel: str = _field("default_kernel")
    prewarm: NonNegativeInt | dict[str, NonNegativeInt] = _field("prewarm")
    root_dir: str = _field("root_dir")
    max_kernels: int | None = _field("max_kernels")
    startup_timeout_s: float = _field("startup_timeout_s")
    start_answer_s: float = _field("start_answer_s")
    shutdown_wait_time_s: float = _field("shutdown_wait_time_s")
    restart_limit: int = _field("restart_limit")
    restart_window_s: float = _field("restart_window_s")
    transport_encryption: Literal["auto", "required", "disabled"] = _field("transport_encryption")
    verify_signatures: bool = _field("verify_signatures")
    connection_dir: str | None = _field("connection_dir")
    allow_origin: list[str] = _field("allow_origin")
    allowed_message_types: list[str] | None = _field("allowed_message_types")
    allowed_kernelspecs: list[str] = _field("allowed_kernelspecs")
    client_env: list[str] = _field("client_env")

    buffer_max_messages: int = _field("buffer_max_messages")
    buffer_max_bytes: int = _field("buffer_max_bytes")
    buffer_max_age_s: float = _field("buffer_max_age_s")
    client_max_bytes: int = _field("client_max_bytes")
    iopub_msg_rate_limit: float = _field("iopub_msg_rate_limit")
    iopub_data_rate_limit: float = _field("iopub_data_rate_limit")
    rate_limit_window_s: float = _field("rate_limit_window_s")
    heartbeat_interval_s: float = _field("heartbeat_interval_s")
    heartbeat_timeout_s: float = _field("heartbeat_timeout_s")
    cull_idle_timeout_s: float = _field("cull_idle_timeout_s")
    cull_interval_s: float = _field("cull_interval_s")
    cull_connected: bool = _field("cull_connected")
    cull_busy: bool = _field("cull_busy")

    def options(self) -> KernelsOptions:
        return KernelsOptions(**{name: getattr(self, name) for name in OPTIONS})

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Raises InvalidConfiguration, in one line that names each option that is wrong."""
        try:
            return cls(**values)
        except ValidationError as exc:
            raise InvalidConfiguration("; ".join(map(_describe, exc.errors()))) from exc


def _describe(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"kernels.{name}: there is no such option"
    return f"kernels.{name}: {error['msg']}, not {error['input']!r}"
