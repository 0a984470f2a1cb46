"""The configuration of the kernels component: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

from typing import Any, Literal, Self

from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig
from pydantic import Field, NonNegativeInt, ValidationError

from .errors import KernelsError


class InvalidConfiguration(KernelsError):
    """A value of the configuration is wrong; the message names it, in one line."""


class KernelsConfig(JupyverseKernelsConfig):
    """All options, with their units in their names; see README.md for the same table."""

    default_kernel: str = Field(
        default="python3",
        description="The kernelspec used when a client names none; if it is missing, the native Python one, "
        "else the first.",
    )
    prewarm: NonNegativeInt | dict[str, NonNegativeInt] = Field(
        default=1,
        description="Kernels that are kept ready for whoever starts one: how many of the default kernelspec, or of "
        "each by its name, {python3: 2}. IPython's on this machine only.",
    )
    root_dir: str = Field(
        default="",
        description="The folder that paths of notebooks are relative to; kernels start in or below it. "
        "Default: where the server was started.",
    )
    max_kernels: int | None = Field(
        default=None, ge=0, description="How many kernels there may be at once, external ones not counted."
    )
    startup_timeout_s: float = Field(
        default=60.0, gt=0, description="Seconds from the launch of a kernel to its first answer."
    )
    start_answer_s: float = Field(
        default=10.0,
        gt=0,
        description="Seconds after which a request that starts a kernel is answered, ready or not.",
    )
    shutdown_wait_time_s: float = Field(
        default=5.0, ge=0, description="Seconds that a kernel has to end politely before it is killed."
    )
    restart_limit: int = Field(
        default=5,
        ge=0,
        description="Deaths within restart_window_s after which a kernel stays dead; 0: never restarted by itself.",
    )
    restart_window_s: float = Field(default=60.0, gt=0, description="Seconds over which deaths are counted.")
    transport_encryption: Literal["auto", "required", "disabled"] = Field(
        default="auto",
        description="CurveZMQ between server and kernels: with those that can, with all or not at all, or never.",
    )
    verify_signatures: bool = Field(
        default=True, description="Whether messages from kernels with a wrong signature are dropped."
    )
    connection_dir: str | None = Field(
        default=None, description="The folder for connection files. Default: Jupyter's runtime folder."
    )
    allow_origin: list[str] = Field(
        default=[],
        description="Origins, as http://host:port, whose pages may open WebSockets; the server's own always may. "
        "['*']: all.",
    )
    allowed_message_types: list[str] | None = Field(
        default=None, description="Message types that clients may send to kernels. Default: all."
    )
    allowed_kernelspecs: list[str] = Field(
        default=[], description="Names of the kernelspecs that clients may see and start. Default: all."
    )
    client_env: list[str] = Field(
        default=[],
        description="Names of environment variables that a request may set for its kernel, besides KERNEL_*.",
    )

    buffer_max_messages: int = Field(
        default=10_000, ge=1, description="iopub messages of a kernel kept for clients that are away."
    )
    buffer_max_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1, description="Bytes kept of each kernel for clients that are away."
    )
    buffer_max_age_s: float = Field(
        default=600.0, gt=0, description="Seconds that messages are kept for clients that are away."
    )
    client_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1,
        description="Bytes that may wait for a connected client that reads slowly; beyond, it is disconnected.",
    )
    iopub_msg_rate_limit: float = Field(
        default=0.0,
        ge=0,
        description="iopub messages per second and client above which stream messages are merged; 0: no limit.",
    )
    iopub_data_rate_limit: float = Field(
        default=0.0,
        ge=0,
        description="Bytes of stream text per second and client above which its middle is cut out; 0: no limit.",
    )
    rate_limit_window_s: float = Field(default=3.0, gt=0, description="Seconds over which the rates are taken.")
    heartbeat_interval_s: float = Field(
        default=15.0, ge=0, description="Seconds between two looks whether a kernel's process still turns; 0: none."
    )
    heartbeat_timeout_s: float = Field(
        default=30.0, gt=0, description="Seconds of silence after which a kernel is shown as unresponsive."
    )
    cull_idle_timeout_s: float = Field(
        default=0.0, ge=0, description="Seconds without activity after which a kernel is culled; 0: never."
    )
    cull_interval_s: float = Field(default=300.0, gt=0, description="Seconds between two looks for idle kernels.")
    cull_connected: bool = Field(default=False, description="Whether kernels with connected clients are culled, too.")
    cull_busy: bool = Field(default=False, description="Whether busy kernels are culled, too.")

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
