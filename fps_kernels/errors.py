"""All errors that this package raises on purpose, in one tree.

Each class knows the HTTP status that a REST client gets for it. Two branches say whose fault it was: a `ClientError`
is a request that cannot be fulfilled as it is, a `KernelFailure` a failure of the kernel or its process. Messages are
written for the client: they never contain a traceback, a path on the server or a key.
"""

from __future__ import annotations

from typing import ClassVar


class FPSKernelsError(Exception):
    """The root of the tree. The client sees `message` as it is."""

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def ename(self) -> str:
        """The kind of error, as front ends show it."""
        return type(self).__name__


class ClientError(FPSKernelsError):
    """A request cannot be fulfilled as it is."""

    status = 400


class InvalidBody(ClientError):
    """The body of a request is not JSON, or not the JSON that is needed."""

    status = 400


class BodyTooLarge(InvalidBody):
    """The body of a request exceeds its limit."""

    status = 413


class CompressedBody(ClientError):
    """The body of a request is compressed, which no parser here expects."""

    status = 415


class InvalidField(ClientError):
    """A field of a JSON body has the wrong type; the message names the field."""

    status = 400

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"Invalid field in JSON data: {field} must be {expected}")
        self.field = field


class MissingField(ClientError):
    """A JSON body lacks a required field; the message names the field."""

    status = 400

    def __init__(self, field: str) -> None:
        super().__init__(f"Missing field in JSON data: {field}")
        self.field = field


class NotAWebSocket(ClientError):
    """A plain request came where WebSockets are opened."""

    def __init__(self) -> None:
        super().__init__(
            "This is a WebSocket: the request needs the headers `Upgrade: websocket` and `Connection: Upgrade`. "
            "A proxy may have removed them"
        )


class InvalidKernelId(ClientError):
    """The client chose a kernel id that is not allowed."""


class NoSuchKernel(ClientError):
    """A session cannot be attached to a kernel that does not exist."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"No such kernel: {kernel_id}")


class Forbidden(ClientError):
    """The client may not do this."""

    status = 403


class ControlNotAllowed(Forbidden):
    """The client may change sessions, but not kernels, and what it asks for would do so."""

    def __init__(self, action: str) -> None:
        super().__init__(f"You need the permission kernels: write to {action}")


class LimitReached(Forbidden):
    """Starting one more kernel would exceed `max_kernels`."""

    def __init__(self) -> None:
        super().__init__("Resource Limit")


class ExternalKernel(Forbidden):
    """The kernel was started elsewhere, so it cannot be stopped or restarted by this server."""

    def __init__(self, kernel_id: str, action: str) -> None:
        super().__init__(f"Kernel {kernel_id} is external: it cannot be {action} from here")


class NotFound(ClientError):
    """Something that a URL or a body names does not exist."""

    status = 404


class KernelNotFound(NotFound):
    """There is no kernel with this id."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"Kernel does not exist: {kernel_id}")


class DocumentNotFound(NotFound):
    """There is no shared document with this id."""

    def __init__(self, document_id: str) -> None:
        super().__init__(f"No such shared document: {document_id}")


class CellNotFound(NotFound):
    """The document has no cell with this id."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"No such cell: {cell_id}")


class RequestNotFound(NotFound):
    """There is no execution request with this id, or not any more."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"No such execution request: {request_id}")


class NotACodeCell(ClientError):
    """The cell to be executed is not a code cell."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"Cell {cell_id} is not a code cell")


class InvalidExecution(ClientError):
    """The body of an execution request does not say what to execute."""

    status = 422


class SessionNotFound(NotFound):
    """There is no session with this id."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session not found: {session_id}")


class KernelspecNotFound(NotFound):
    """There is no kernelspec with this name, or clients may not use it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such kernel: {name}")


class KernelspecsUnavailable(FPSKernelsError):
    """What finds kernelspecs failed."""


class KernelspecsTimeout(KernelspecsUnavailable):
    """What finds kernelspecs takes too long."""

    status = 504


class Conflict(ClientError):
    """The request does not fit the state of the kernel or the document."""

    status = 409


class SourceChanged(Conflict):
    """A cell no longer has the source that the client wants to execute."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"The source of cell {cell_id} has changed")


class MalformedMessage(ClientError):
    """A WebSocket message or a ZMQ message breaks the rules of its protocol.

    close_code: the WebSocket close code for the peer that sent it (RFC 6455, 7.4.1): 1003 for the wrong kind of data,
      1007 for data that contradicts its kind.
    """

    def __init__(self, message: str, close_code: int = 1007) -> None:
        super().__init__(message)
        self.close_code = close_code


class QueueFull(ClientError):
    """The queue of messages for the kernel is full."""

    status = 503


class TooManyConnections(ClientError):
    """There is no room for one more WebSocket to a kernel."""

    status = 503

    def __init__(self, most: int) -> None:
        super().__init__(f"Too many clients of this kernel: max_clients_per_kernel is {most}")


class TooManyWatchers(ClientError):
    """There is no room for one more stream to a page of kernels."""

    status = 503

    def __init__(self, most: int) -> None:
        super().__init__(f"Too many pages of kernels are open: there can be {most}")


class KernelFailure(FPSKernelsError):
    """The kernel or its process failed."""


class BadSignature(KernelFailure):
    """The HMAC of a message from a kernel does not match its content."""


class KernelStartFailed(KernelFailure):
    """The kernel did not start; the message says why."""


class SubshellGone(KernelFailure):
    """The kernel has no subshell of this id, or not any more."""

    def __init__(self, subshell_id: str) -> None:
        super().__init__(f"The kernel has no subshell {subshell_id[:100]}")


class KernelDied(KernelFailure):
    """The kernel died; the message says how."""

    @property
    def ename(self) -> str:
        return "DeadKernelError"  # as in ipyparallel and nbclient


class KernelRestarted(KernelFailure):
    """The kernel was restarted before it replied."""


class KernelInterrupted(KernelFailure):
    """A cell was interrupted before the kernel was ready to run it."""

    def __init__(self) -> None:
        super().__init__("Interrupted before the kernel was ready")

    @property
    def ename(self) -> str:
        return "KeyboardInterrupt"  # as where it runs


class KernelTimeout(KernelFailure):
    """The kernel did not reply in time."""

    status = 504


class IdleWithoutReply(KernelTimeout):
    """The kernel has ended a request without a reply, as some do with code that they cannot read."""


class KernelNotConnected(KernelFailure):
    """The kernel is not connected at the moment."""

    status = 503


class ServerStopping(FPSKernelsError):
    """The server is shutting down."""

    status = 503

    def __init__(self) -> None:
        super().__init__("The server is shutting down")


class StoreUnreachable(FPSKernelsError):
    """What the server writes down of its kernels cannot be read or written now: the disk may be full, say."""

    status = 503

    def __init__(self) -> None:
        super().__init__("The store of kernels cannot be reached")


class NotAvailable(FPSKernelsError):
    """The request needs something that this server does not have."""

    status = 501


class InvalidTransition(FPSKernelsError):
    """A kernel cannot go from one state to another: a bug of the server."""


class BadOption(FPSKernelsError):
    """An option has a value that is not allowed; the message names both, in one line."""
