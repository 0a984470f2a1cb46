"""What the API's documents say of the endpoints: OPERATIONS has an entry for each method of each path.

The shapes of JSON are types: those of the code that makes it, where that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from ..kernel_driver.kernelspec import KernelspecModel, KernelspecsModel
from ..kernels.kernel import KernelModel
from ..kernels.sessions import SessionModel
from .activity import ActivityModel


class Text:
    """An answer that is plain text."""


class Page:
    """An answer that is HTML."""


class Events:
    """Server-sent events."""


class Version(TypedDict):
    version: str


class Status(TypedDict):
    connections: int
    kernels: int
    last_activity: str
    started: str


class ResolvedPath(TypedDict):
    scope: str
    path: str


class UnresolvedPath(TypedDict):
    scope: str
    reason: str


class ResolvedPaths(TypedDict):
    resolved: list[ResolvedPath]
    unresolved: NotRequired[list[UnresolvedPath]]


class KernelRequest(TypedDict, total=False):
    name: str | None
    path: str | None
    env: dict[str, str] | None
    kernel_id: str | None


class KernelOfSession(TypedDict, total=False):
    id: str | None
    name: str | None


class SessionRequest(TypedDict):
    path: str
    type: str
    name: NotRequired[str | None]
    kernel: NotRequired[KernelOfSession | None]


class SessionChange(TypedDict, total=False):
    path: str | None
    name: str | None
    type: str | None
    kernel: KernelOfSession | None


class Input(TypedDict):
    value: str


class Error(TypedDict):
    message: str
    reason: str


class File:
    """The content of a file, of any media type."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a path.

    summary: a phrase for lists.
    tag: the group that it is shown in.
    status: the status code of success.
    answer: the type of the response's JSON, one of the classes above, or None for an empty response.
    body: the type of the request's JSON, or None.
    body_required: whether a request must have a body.
    query: the description of each query parameter.
    required: the query parameters that a request must have.
    errors: the meaning of each status code of failure.
    """

    summary: str
    tag: str
    status: int = 200
    answer: Any = None
    body: Any = None
    body_required: bool = False
    query: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    errors: Mapping[int, str] = field(default_factory=dict)


PARAMETERS = {
    "kernel_id": "ID of a kernel",
    "session_id": "ID of a session",
    "request_id": "ID of an execution request",
    "client_id": "ID of a client that answers input requests",
    "name": "Name of a kernelspec, or of a file of the page of kernels",
    "file": "Path of a file in the folder of the kernelspec",
}
"""The descriptions of the parameters in paths."""

NO_KERNEL = {404: "There is no such kernel"}
NO_SESSION = {404: "There is no such session"}
NO_KERNELSPEC = {404: "There is no such kernelspec, or no such file"}
NO_LIST = {403: "Listing is not allowed"}
STARTING = {
    403: "The limit of kernels is reached",
    404: "There is no such kernelspec",
    500: "The kernel does not start, or its seed fails",
    503: "The server is shutting down",
}
"""What may fail when a kernel is started."""
EXECUTING = {404: "There is no such kernel", 501: "This server has no shared documents"}
"""What may fail when the server executes cells."""

_KERNEL = "/api/kernels/{kernel_id}"
_REQUEST = "/api/kernels/{kernel_id}/requests/{request_id}"
_STDIN = "/api/kernels/{kernel_id}/stdin/{client_id}"
_SESSION = "/api/sessions/{session_id}"
_FILE = "/kernelspecs/{name}/{file}"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/api"): Operation("Get the version of the server", "server", answer=Version),
    ("GET", "/api/status"): Operation("Get the status of the server", "server", answer=Status),
    ("GET", "/metrics"): Operation("Get what the server does in numbers, for Prometheus", "server", answer=Text),
    ("GET", "/_api/activity"): Operation("Get the activity of all kernels", "server", answer=dict[str, ActivityModel]),
    ("POST", "/api/security/csp-report"): Operation(
        "Take a browser's report of a violated content security policy", "server", 204, body=dict[str, Any]
    ),
    ("GET", "/api/resolvePath"): Operation(
        "Resolve a path on the server and in a kernel",
        "server",
        answer=ResolvedPaths,
        query={"path": "The path to resolve", "kernel": "ID of the kernel whose folder the path may be in"},
        required=("path",),
        errors={400: "The path is missing or not valid"},
    ),
    ("GET", "/api/kernelspecs"): Operation("List the kernelspecs", "kernelspecs", answer=KernelspecsModel),
    ("GET", "/api/kernelspecs/{name}"): Operation(
        "Get a kernelspec", "kernelspecs", answer=KernelspecModel, errors=NO_KERNELSPEC
    ),
    ("GET", _FILE): Operation("Get a file of a kernelspec", "kernelspecs", answer=File, errors=NO_KERNELSPEC),
    ("GET", "/api/kernels"): Operation("List the running kernels", "kernels", answer=list[KernelModel], errors=NO_LIST),
    ("POST", "/api/kernels"): Operation(
        "Start a kernel",
        "kernels",
        201,
        KernelModel,
        KernelRequest,
        errors={400: "The body is not valid", **STARTING},
    ),
    ("GET", _KERNEL): Operation("Get a kernel", "kernels", answer=KernelModel, errors=NO_KERNEL),
    ("DELETE", _KERNEL): Operation("Shut down a kernel", "kernels", 204, errors=NO_KERNEL),
    ("POST", f"{_KERNEL}/interrupt"): Operation("Interrupt a kernel", "kernels", 204, errors=NO_KERNEL),
    ("POST", f"{_KERNEL}/restart"): Operation(
        "Restart a kernel", "kernels", answer=KernelModel, errors={**STARTING, **NO_KERNEL}
    ),
    ("POST", f"{_KERNEL}/execute"): Operation(
        "Execute cells of a shared document", "execution", answer=dict[str, Any], body=dict[str, Any], errors=EXECUTING
    ),
    ("GET", _REQUEST): Operation("Get an execution request", "execution", answer=dict[str, Any], errors=EXECUTING),
    ("POST", f"{_REQUEST}/input"): Operation(
        "Answer the input request of a cell",
        "execution",
        204,
        body=Input,
        body_required=True,
        errors={400: "The value is missing or not a string", **EXECUTING},
    ),
    ("PUT", _STDIN): Operation(
        "Register a client that answers input requests", "execution", answer=dict[str, Any], errors=EXECUTING
    ),
    ("DELETE", _STDIN): Operation(
        "Unregister a client that answers input requests", "execution", 204, errors=EXECUTING
    ),
    ("GET", "/api/sessions"): Operation("List the sessions", "sessions", answer=list[SessionModel], errors=NO_LIST),
    ("POST", "/api/sessions"): Operation(
        "Create a session, or get that of a path",
        "sessions",
        201,
        SessionModel,
        SessionRequest,
        body_required=True,
        errors={400: "The body is not valid, or its kernel does not exist", **STARTING},
    ),
    ("GET", _SESSION): Operation("Get a session", "sessions", answer=SessionModel, errors=NO_SESSION),
    ("PATCH", _SESSION): Operation(
        "Rename or move a session, or change its kernel",
        "sessions",
        answer=SessionModel,
        body=SessionChange,
        body_required=True,
        errors={400: "The body is not valid, or its kernel does not exist", **STARTING, **NO_SESSION},
    ),
    ("GET", "/kernels"): Operation("Get the page of kernels, for people", "kernels", answer=Page, errors=NO_LIST),
    ("GET", "/kernels/events"): Operation(
        "Watch all kernels: an event `server`, then an event `kernels` a second with what has changed, as JSON",
        "kernels",
        answer=Events,
        errors={**NO_LIST, 503: "Too many pages are open"},
    ),
    ("GET", "/kernels/static/{name}"): Operation(
        "Get a file of the page of kernels", "kernels", answer=File, errors={404: "There is no such file"}
    ),
    ("DELETE", _SESSION): Operation("Delete a session and its kernel", "sessions", 204, errors=NO_SESSION),
}
"""By method and path, without convertors."""
