"""Replies and failures as responses of Starlette."""

from __future__ import annotations

from starlette.responses import Response

from ...api.responses import error_response
from ...errors import FPSKernelsError, KernelDied, KernelNotConnected, KernelRestarted, QueueFull, ServerStopping
from .reply import Reply

RETRY_AFTER_S = 1


def http_response(reply: Reply) -> Response:
    """A reply, with its own headers and no others."""
    response = Response(reply.body, reply.status)
    response.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    return response


def failure_response(error: FPSKernelsError) -> Response:
    """What the client is told when no cell could answer."""
    if isinstance(error, (KernelDied, KernelRestarted, KernelNotConnected)):
        return error_response(502, f"The kernel is gone: {error.message}")
    if isinstance(error, (QueueFull, ServerStopping)):
        return error_response(503, error.message, {"Retry-After": str(RETRY_AFTER_S)})
    return error_response(error.status, error.message)
