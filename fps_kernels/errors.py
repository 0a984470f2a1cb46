"""Every error that this package raises on purpose, in one tree.

Each class knows the HTTP status that a REST client gets for it. The two branches tell whose
fault it was: `ClientError`, what was asked for cannot be done as asked; `KernelFailure`, the
kernel or its process failed. Messages are written for the client: they never hold a traceback,
a path of the server or a key.
"""

from __future__ import annotations

from typing import ClassVar


class FPSKernelsError(Exception):
    """The root of the tree. `message` is shown to the client as it is."""

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def ename(self) -> str:
        """What a front end shows as the kind of error."""
        return type(self).__name__


class ClientError(FPSKernelsError):
    """The client asked for something that cannot be done as asked."""

    status = 400


class InvalidBody(ClientError):
    """The body of a request is not JSON, or JSON of the wrong shape."""

    status = 400


class InvalidField(ClientError):
    """One field of a JSON body has the wrong type; the message names it."""

    status = 400

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"Invalid field in JSON data: {field} must be {expected}")
        self.field = field


class MissingField(ClientError):
    """A field that a JSON body must have is not there; the message names it."""

    status = 400

    def __init__(self, field: str) -> None:
        super().__init__(f"Missing field in JSON data: {field}")
        self.field = field


class InvalidKernelId(ClientError):
    """A kernel id chosen by the client cannot be used as one."""


class NoSuchKernel(ClientError):
    """A session was to be attached to a kernel that does not exist."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"No such kernel: {kernel_id}")


class Forbidden(ClientError):
    """The client may not do this."""

    status = 403


class LimitReached(Forbidden):
    """Starting one more kernel would exceed `max_kernels`."""

    def __init__(self) -> None:
        super().__init__("Resource Limit")


class ExternalKernel(Forbidden):
    """The kernel was started by somebody else, so it is not ours to stop or restart."""

    def __init__(self, kernel_id: str, action: str) -> None:
        super().__init__(f"Kernel {kernel_id} is external: it cannot be {action} from here")


class NotFound(ClientError):
    """Something that a URL or a body names does not exist."""

    status = 404


class KernelNotFound(NotFound):
    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"Kernel does not exist: {kernel_id}")


class DocumentNotFound(NotFound):
    def __init__(self, document_id: str) -> None:
        super().__init__(f"No such shared document: {document_id}")


class CellNotFound(NotFound):
    def __init__(self, cell_id: str) -> None:
        super().__init__(f"No such cell: {cell_id}")


class RequestNotFound(NotFound):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"No such execution request: {request_id}")


class NotACodeCell(ClientError):
    """Only code is executed."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"Cell {cell_id} is not a code cell")


class InvalidExecution(ClientError):
    """The body of an execution request does not say what to execute."""

    status = 422


class SessionNotFound(NotFound):
    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session not found: {session_id}")


class KernelspecNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"No such kernel: {name}")


class Conflict(ClientError):
    """The kernel is in a state in which this cannot be done."""

    status = 409


class SourceChanged(Conflict):
    """A cell is not any more what the client wants to execute."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"The source of cell {cell_id} has changed")


class MalformedMessage(ClientError):
    """A WebSocket frame or a ZMQ message does not have the form that its protocol lays down.

    close_code: the WebSocket close code for the peer that sent it (RFC 6455, 7.4.1): 1003 for data
      of the wrong kind, 1007 for data that contradicts its kind.
    """

    def __init__(self, message: str, close_code: int = 1007) -> None:
        super().__init__(message)
        self.close_code = close_code


class QueueFull(ClientError):
    """More messages wait for the kernel than the queue may hold."""

    status = 503


class KernelFailure(FPSKernelsError):
    """The kernel, or the process it runs in, failed."""


class BadSignature(KernelFailure):
    """The HMAC of a message from a kernel does not match its content."""


class KernelStartFailed(KernelFailure):
    """The kernel did not start; the message says why."""


class KernelDied(KernelFailure):
    """The kernel died; the message says how."""

    @property
    def ename(self) -> str:
        return "DeadKernelError"  # what ipyparallel and nbclient have called it for years


class KernelRestarted(KernelFailure):
    """The kernel was restarted while it still owed an answer."""


class KernelTimeout(KernelFailure):
    """The kernel did not answer in time."""

    status = 504


class KernelNotConnected(KernelFailure):
    """There is no connection to the kernel at the moment."""

    status = 503


class ServerStopping(FPSKernelsError):
    """The server is shutting down."""

    status = 503

    def __init__(self) -> None:
        super().__init__("The server is shutting down")


class NotAvailable(FPSKernelsError):
    """This server was set up without what the request needs."""

    status = 501


class InvalidTransition(FPSKernelsError):
    """A kernel cannot go from one state to another; this is a fault of the server's own."""


class BadOption(FPSKernelsError):
    """An option has a value that it cannot have; the message names both, in one line."""
