"""Spans of what clients have a kernel execute, from the request's arrival to the kernel's reply."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ...errors import MalformedMessage
from ...kernel_driver.message import peek_session
from ...kernel_driver.request_log import Request, RequestLog
from .tracing import Tracing, fail

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ...kernel_driver.message import Message


class TracedRequests(RequestLog):
    """The requests of one kernel, with a span for each execute_request of a client that is running.

    The code is in none of them, nor what it puts out. The server's own code is not traced.
    attributes: what the spans say of the kernel.
    """

    def __init__(self, tracing: Tracing, attributes: dict[str, str]) -> None:
        super().__init__()
        self._tracing = tracing
        self._attributes = attributes
        self._spans: dict[str, Span] = {}  # by msg_id, of running requests only

    def add(self, request: Request) -> None:
        super().add(request)
        if request.msg_type == "execute_request" and request.origin is not None:
            self._spans[request.msg_id] = self._tracing.span(
                "kernel.execute",
                {
                    **self._attributes,
                    "jupyter.message.id": request.msg_id,
                    "jupyter.session.id": peek_session(request.header),
                },
                of_request=False,  # a WebSocket's is as long as its page is open
            )

    def on_reply(self, request: Request, reply: Any) -> None:
        if (span := self._spans.pop(request.msg_id, None)) is not None:
            _describe(span, reply)
            span.end()
        super().on_reply(request, reply)

    def _forget(self, requests: OrderedDict[str, Request], msg_id: str) -> None:
        if requests is self._running:
            self._end_without_reply(msg_id)
        super()._forget(requests, msg_id)

    def clear(self) -> list[Request]:
        for msg_id in list(self._spans):
            self._end_without_reply(msg_id)
        return super().clear()

    def _end_without_reply(self, msg_id: str) -> None:
        if (span := self._spans.pop(msg_id, None)) is not None:
            fail(span, "no_reply", "the kernel died, was restarted, or is not waited for any more")
            span.end()


def _describe(span: Span, reply: Message) -> None:
    """Add what a reply says of the execution, but for what the code has put into it."""
    try:
        content = reply.content
    except MalformedMessage:
        fail(span, "malformed_reply")
        return
    status = str(content.get("status", "ok"))
    span.set_attribute("jupyter.reply.status", status)
    if isinstance(number := content.get("execution_count"), int):
        span.set_attribute("jupyter.execution_count", number)
    if status != "ok":  # aborted, if another cell before it has failed
        fail(span, str(content.get("ename") or status))
