"""The options of the kernels component as plain values: of what runs kernels, whoever has read them.

config.py makes of these the model that Jupyverse wants. It needs pydantic, 0.2 s to import, which the headless
gateway does without: its options are read and checked by other means.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal


def _option(default: Any, description: str, *, gt: float | None = None, ge: float | None = None) -> Any:
    """gt, ge: what a number must be greater than, or at least."""
    metadata = {"description": description, "gt": gt, "ge": ge}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelsOptions:
    """All options, with their units in their names; see README.md for the same table."""

    default_kernel: str = _option(
        "python3",
        "The kernelspec used when a client names none; if it is missing, the native Python one, else the first.",
    )
    prewarm: int | dict[str, int] = _option(
        1,
        "Kernels that are kept ready for whoever starts one: how many of the default kernelspec, or of "
        "each by its name, {python3: 2}. IPython's on this machine only.",
    )
    root_dir: str = _option(
        "",
        "The folder that paths of notebooks are relative to; kernels start in or below it. "
        "Default: where the server was started.",
    )
    max_kernels: int | None = _option(None, "How many kernels there may be at once, external ones not counted.", ge=0)
    startup_timeout_s: float = _option(60.0, "Seconds from the launch of a kernel to its first answer.", gt=0)
    start_answer_s: float = _option(
        10.0,
        "Seconds after which a request that starts a kernel is answered, ready or not.",
        gt=0,
    )
    shutdown_wait_time_s: float = _option(5.0, "Seconds that a kernel has to end politely before it is killed.", ge=0)
    restart_limit: int = _option(
        5,
        "Deaths within restart_window_s after which a kernel stays dead; 0: never restarted by itself.",
        ge=0,
    )
    restart_window_s: float = _option(60.0, "Seconds over which deaths are counted.", gt=0)
    transport_encryption: Literal["auto", "required", "disabled"] = _option(
        "auto",
        "CurveZMQ between server and kernels: with those that can, with all or not at all, or never.",
    )
    verify_signatures: bool = _option(True, "Whether messages from kernels with a wrong signature are dropped.")
    connection_dir: str | None = _option(None, "The folder for connection files. Default: Jupyter's runtime folder.")
    allow_origin: list[str] = _option(
        [],
        "Origins, as http://host:port, whose pages may open WebSockets; the server's own always may. ['*']: all.",
    )
    allowed_message_types: list[str] | None = _option(
        None,
        "Message types that clients may send to kernels. Default: all.",
    )
    allowed_kernelspecs: list[str] = _option(
        [],
        "Names of the kernelspecs that clients may see and start. Default: all.",
    )
    client_env: list[str] = _option(
        [],
        "Names of environment variables that a request may set for its kernel, besides KERNEL_*.",
    )
    buffer_max_messages: int = _option(10_000, "iopub messages of a kernel kept for clients that are away.", ge=1)
    buffer_max_bytes: int = _option(64 * 1024 * 1024, "Bytes kept of each kernel for clients that are away.", ge=1)
    buffer_max_age_s: float = _option(600.0, "Seconds that messages are kept for clients that are away.", gt=0)
    client_max_bytes: int = _option(
        256 * 1024 * 1024,
        "Bytes that may wait for a connected client that reads slowly; beyond, it is disconnected.",
        ge=1,
    )
    iopub_msg_rate_limit: float = _option(
        0.0,
        "iopub messages per second and client above which stream messages are merged; 0: no limit.",
        ge=0,
    )
    iopub_data_rate_limit: float = _option(
        0.0,
        "Bytes of stream text per second and client above which its middle is cut out; 0: no limit.",
        ge=0,
    )
    rate_limit_window_s: float = _option(3.0, "Seconds over which the rates are taken.", gt=0)
    heartbeat_interval_s: float = _option(
        15.0,
        "Seconds between two looks whether a kernel's process still turns; 0: none.",
        ge=0,
    )
    heartbeat_timeout_s: float = _option(
        30.0,
        "Seconds of silence after which a kernel is shown as unresponsive.",
        gt=0,
    )
    cull_idle_timeout_s: float = _option(
        0.0,
        "Seconds without activity after which a kernel is culled; 0: never.",
        ge=0,
    )
    cull_interval_s: float = _option(300.0, "Seconds between two looks for idle kernels.", gt=0)
    cull_connected: bool = _option(False, "Whether kernels with connected clients are culled, too.")
    cull_busy: bool = _option(False, "Whether busy kernels are culled, too.")


OPTIONS = MappingProxyType({one.name: one for one in fields(KernelsOptions)})
"""Each option's default and description."""


def out_of_bounds(name: str, value: Any) -> str | None:
    """What a number should be that it is not, in words; None when it may be the option's value."""
    metadata = OPTIONS[name].metadata
    if value is None:
        return None
    if metadata["gt"] is not None and not value > metadata["gt"]:  # also what is no number
        return f"should be greater than {metadata['gt']:g}"
    if metadata["ge"] is not None and not value >= metadata["ge"]:
        return f"should be greater than or equal to {metadata['ge']:g}"
    return None
