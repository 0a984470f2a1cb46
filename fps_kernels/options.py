"""The one list of the kernels' options: their names, types, bounds, units, defaults and help.

Everything else that names them is made from it: the model that Jupyverse wants (which needs pydantic, 0.2 s to
import, so the headless gateway does without), the gateway's traits, the help of the commands, and the tables in the
documentation (docs/option_tables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number must be greater than, and what it must at least and at most be.

    Part of a type, as in `Annotated[int, Bounds(ge=0)]`. Not annotated_types', which take as long to import as ten
    modules of ours.
    """

    gt: float | None = None
    ge: float | None = None
    le: float | None = None

    def violation(self, value: float) -> str | None:
        """What the value should be that it is not, in words."""
        if self.gt is not None and not value > self.gt:  # also true of NaN
            return f"should be greater than {self.gt:.15g}"
        if self.ge is not None and not value >= self.ge:
            return f"should be greater than or equal to {self.ge:.15g}"
        if self.le is not None and not value <= self.le:
            return f"should be less than or equal to {self.le:.15g}"
        return None

    def violation_if_finite(self, value: float) -> str | None:
        """The same for a number that must not be infinite, as a time that an event loop waits."""
        return self.violation(value) if isfinite(value) else "should be a finite number"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The same bounds for pydantic, where an option is a field of a model."""
        bounds = {"gt": self.gt, "ge": self.ge, "le": self.le}
        return handler(source) | {name: bound for name, bound in bounds.items() if bound is not None}


Positive = Annotated[float, Bounds(gt=0)]
NotNegative = Annotated[float, Bounds(ge=0)]
Count = Annotated[int, Bounds(ge=0)]
AtLeastOne = Annotated[int, Bounds(ge=1)]


def _option(default: Any, help: str, *, unit: str = "", default_text: str = "") -> Any:
    """An option.

    help: sentences for users; names and values in backticks.
    unit: the unit of a number, in the plural.
    default_text: what a default means that says nothing by itself, such as None.
    """
    metadata = {"help": help, "unit": unit, "default_text": default_text}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


UNTRACKED_MESSAGE_TYPES = (
    "comm_info_request",
    "comm_info_reply",
    "kernel_info_request",
    "kernel_info_reply",
    "shutdown_request",
    "shutdown_reply",
    "interrupt_request",
    "interrupt_reply",
    "debug_request",
    "debug_reply",
    "stream",
    "display_data",
    "update_display_data",
    "execute_input",
    "execute_result",
    "error",
    "status",
    "clear_output",
    "debug_event",
    "input_request",
    "input_reply",
    "complete_request",
    "complete_reply",
    "inspect_request",
    "inspect_reply",
    "is_complete_request",
    "is_complete_reply",
    "history_request",
    "history_reply",
    "create_subshell_request",
    "create_subshell_reply",
    "delete_subshell_request",
    "delete_subshell_reply",
    "list_subshell_request",
    "list_subshell_reply",
)
"""Jupyter Server's list, and after it what front ends also ask without their user: completions, tooltips, subshells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelsOptions:
    """The values of all options."""

    default_kernel: str = _option(
        "python3",
        "Kernelspec to start when a client does not name one. If it is not installed, the native Python kernelspec is "
        "used, or else the first one.",
    )
    prewarm: Count | dict[str, Count] = _option(
        1,
        "Kernels to keep ready for clients that start one: a number for the default kernelspec, or a number for each "
        "name, as in `{python3: 2}`. Only IPython kernels on this machine can be kept ready. They count towards "
        "`max_kernels`, and make room for kernels that are asked for.",
        unit="kernels",
    )
    root_dir: str = _option(
        "",
        "Folder that the paths of notebooks are relative to. Kernels start in it or below it.",
        default_text="the folder in which the server was started",
    )
    max_kernels: Count | None = _option(
        None,
        "How many kernels may exist at the same time, not counting external ones.",
        unit="kernels",
        default_text="no limit",
    )
    startup_timeout_s: Positive = _option(
        60.0,
        "Seconds that a kernel may take from its launch to its first reply. After that nothing waits for it any more, "
        "and it is shown with a reason; it is not ended as long as its process lives. A request can say more in "
        "`KERNEL_LAUNCH_TIMEOUT` of its `env`.",
        unit="seconds",
    )
    start_answer_s: NotNegative = _option(
        0.0,
        "Seconds after which a request that starts a kernel is answered, even if the kernel is not ready yet. With 0 "
        "it is answered as soon as the process runs: JupyterLab drops what is run before the answer, and keeps it "
        "afterwards.",
        unit="seconds",
    )
    restart_answer_s: NotNegative = _option(
        10.0,
        "Seconds after which a request that restarts a kernel is answered, even if the new process is not ready yet.",
        unit="seconds",
    )
    shutdown_wait_time_s: NotNegative = _option(
        5.0, "Seconds that a kernel has to shut down by itself before it is killed.", unit="seconds"
    )
    restart_limit: Count = _option(
        5,
        "How many deaths of a kernel within `restart_window_s` are followed by a restart. After the next death it "
        "stays dead. 0 disables automatic restarts.",
        unit="deaths",
    )
    restart_window_s: Positive = _option(
        60.0, "Seconds over which deaths are counted for `restart_limit`.", unit="seconds"
    )
    heartbeat_interval_s: NotNegative = _option(
        15.0, "Seconds between heartbeat checks. 0 disables them.", unit="seconds"
    )
    heartbeat_timeout_s: Positive = _option(
        30.0, "Seconds without a heartbeat after which a kernel is shown as unresponsive.", unit="seconds"
    )
    cull_idle_timeout_s: NotNegative = _option(
        0.0,
        "Seconds without activity after which a kernel is culled, that is, shut down. 0 disables culling. The metadata "
        "of a kernelspec can override this option and the next ones, as `cull_idle_timeout`, `cull_connected` and "
        "`cull_busy`.",
        unit="seconds",
    )
    cull_interval_s: Positive = _option(300.0, "Seconds between checks for idle kernels.", unit="seconds")
    cull_connected: bool = _option(False, "Whether to cull kernels with connected clients, too.")
    cull_busy: bool = _option(False, "Whether to cull busy kernels, too.")
    untracked_message_types: list[str] = _option(
        list(UNTRACKED_MESSAGE_TYPES),
        "Message types that are no activity of a kernel, neither by themselves nor by what they cause, so that they do "
        "not keep it from being culled. What is put out still counts if the request that caused it does.",
        default_text="what open tabs ask by themselves, and all that kernels answer",
    )
    buffer_max_messages: AtLeastOne = _option(
        10_000, "iopub messages of each kernel to keep for clients that are disconnected.", unit="messages"
    )
    buffer_max_bytes: AtLeastOne = _option(
        64 * 1024 * 1024,
        "Bytes of iopub messages of each kernel to keep for clients that are disconnected.",
        unit="bytes",
    )
    buffer_max_age_s: Positive = _option(
        600.0, "Seconds for which iopub messages are kept for clients that are disconnected.", unit="seconds"
    )
    client_max_bytes: AtLeastOne = _option(
        256 * 1024 * 1024,
        "Bytes that may wait for a connected client that reads slowly. If there are more, it is disconnected; it can "
        "reconnect and get what is kept.",
        unit="bytes",
    )
    max_clients_per_kernel: AtLeastOne = _option(
        500,
        "WebSockets that may be open to one kernel at the same time. A named user may have half of them.",
        unit="WebSockets",
    )
    iopub_msg_rate_limit: NotNegative = _option(
        0.0,
        "iopub messages per second and client above which stream messages are merged. 0 means no limit.",
        unit="messages per second",
    )
    iopub_data_rate_limit: NotNegative = _option(
        0.0,
        "Bytes of stream text per second and client above which the middle of the text is replaced by a notice. 0 "
        "means no limit.",
        unit="bytes per second",
    )
    page_text_wait_s: NotNegative = _option(
        10.0,
        "Longest time for which text is collected for a page in a browser, once a cell has printed much: JupyterLab "
        "lays out all text of a cell anew with each message. All of it arrives. 0 disables that.",
        unit="seconds",
    )
    rate_limit_window_s: Positive = _option(3.0, "Seconds over which both rates are measured.", unit="seconds")
    transport_encryption: Literal["auto", "required", "disabled"] = _option(
        "auto",
        "CurveZMQ encryption between server and kernels: `auto` encrypts for kernels that support it, `required` "
        "refuses all others, `disabled` never encrypts.",
    )
    transport: Literal["tcp", "ipc"] = _option(
        "tcp",
        "How the server talks to kernels: `tcp` over ports of this machine, `ipc` over sockets in the folder of "
        "connection files, which only this user can reach. Not every kernel can do `ipc`.",
    )
    verify_signatures: bool = _option(True, "Whether to drop messages from kernels with a wrong signature.")
    connection_dir: str | None = _option(None, "Folder for connection files.", default_text="Jupyter's runtime folder")
    keep_kernels: Literal["never", "crash", "always"] = _option(
        "never",
        "Whether kernels outlive their server, for the next one with the same root folder: `never`, after a `crash` or "
        "kill of the server, or `always`, also when it is stopped.",
    )
    state_dir: str = _option(
        "",
        "Folder of what outlives the server, on this machine and only for you. `fps-kernels kernels` lists the kernels "
        "in it.",
        default_text="`$XDG_RUNTIME_DIR/fps-kernels`, or else `/tmp/fps-kernels-UID`",
    )
    orphan_timeout_s: NotNegative = _option(
        86_400.0, "Seconds without any server after which kernels that are kept are ended. 0 for never.", unit="seconds"
    )
    traces: bool = _option(
        False,
        "Whether starts, restarts and executions are traced with OpenTelemetry, which its variables `OTEL_*` "
        "configure. Needs the extra `traces`.",
    )
    allow_origin: list[str] = _option(
        [],
        "Origins, such as `http://host:port`, whose pages may use the server; its own always may. `['*']` allows all.",
    )
    allow_origin_pat: str | None = _option(
        None,
        "A regular expression. Pages whose whole origin matches it may use the server, too.",
        default_text="none",
    )
    allowed_message_types: list[str] | None = _option(
        None, "Message types that clients may send to kernels.", default_text="all"
    )
    allow_tracebacks: bool = _option(
        True,
        "Whether clients see the errors of their code. Otherwise the name, the text and the traceback of each error "
        "are replaced, in shared documents, replies and notebook-http as well as on iopub.",
    )
    traceback_replacement_message: str = _option(
        "An exception occurred at runtime, which is not shown due to security reasons.",
        "What clients see in the place of a traceback without `allow_tracebacks`.",
    )
    allowed_kernelspecs: list[str] = _option(
        [], "Names of the kernelspecs that clients may see and start. Case does not matter.", default_text="all"
    )
    kernel_spec_manager_class: str | type[Any] = _option(
        "",
        "The class that finds kernelspecs, such as `nb_conda_kernels.CondaKernelSpecManager`; one derived from "
        "jupyter_client's `KernelSpecManager`.",
        default_text="jupyter_client's",
    )
    ensure_native_kernel: bool = _option(
        True, "Whether there is a kernelspec `python3` of the server's own Python where none is installed."
    )
    default_provisioner_name: str = _option(
        "",
        "The provisioner that starts kernels whose kernelspec names none. If it is not set, "
        "`JUPYTER_DEFAULT_PROVISIONER_NAME` counts.",
        default_text="`local-provisioner`",
    )
    class_options: dict[str, dict[str, Any]] = _option(
        {},
        "Options of the class that finds kernelspecs, and of provisioners, by the names of the classes, as in "
        "`{CondaKernelSpecManager: {conda_only: true}}`.",
        default_text="none",
    )
    client_env: list[str] = _option(
        [], "Names of environment variables that a request may set for its kernel, besides `KERNEL_*`."
    )
    kernel_env_pattern: str = _option(
        "",
        "Regular expression that each variable which a request sets must match. By default values may have spaces, "
        "letters, digits and signs of any language, and `% ( ) + , - . / : = @ ^ _ ~`: nothing that means something to "
        "a shell or in YAML, into which provisioners of remote kernels write them.",
        default_text="nothing special to a shell or YAML",
    )
    external_allow_remote: bool = _option(
        False, "Whether to connect to external kernels that do not listen on a loopback address of this machine."
    )
    external_allow_unsigned: bool = _option(
        False,
        "Whether to connect to external kernels without a key. Anybody on their machine can pretend to be one.",
    )
    external_heartbeat_timeout_s: NotNegative = _option(
        15.0,
        "Seconds of silence after which an external kernel is dead, until it answers again; one whose ports are closed "
        "is dead at once. 0 for never.",
        unit="seconds",
    )
    external_max_kernels: AtLeastOne = _option(
        100, "How many external kernels there may be at the same time. Files of more are ignored.", unit="kernels"
    )


@dataclass(frozen=True, slots=True)
class Option:
    """What is known about an option; see `_option`."""

    name: str
    type: Any
    default: Any
    help: str
    unit: str = ""
    default_text: str = ""

    @property
    def shown_default(self) -> str:
        """The default, in words or as it would stand in YAML."""
        if self.default_text:
            return self.default_text
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def violation(self, value: Any) -> str | None:
        """What a number should be that it is not, in words; None when it may be the option's value."""
        if isinstance(value, (int, float)):
            for one in (self.type, *get_args(self.type)):
                for bounds in getattr(one, "__metadata__", ()):
                    return bounds.violation(value)  # type: ignore[no-any-return]  # all metadata are Bounds
        return None


def _options() -> Iterator[Option]:
    types = get_type_hints(KernelsOptions, include_extras=True)
    for one in fields(KernelsOptions):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        yield Option(one.name, types[one.name], default, **one.metadata)


OPTIONS = MappingProxyType({option.name: option for option in _options()})
"""All options, in the order of the documentation."""
