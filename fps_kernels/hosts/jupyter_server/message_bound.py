"""The bound on the messages of one of tornado's WebSockets, and a refusal that reaches the client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from ...tasks import TaskSet

TOO_LARGE = 1009
LINGER_S = 5.0
"""Seconds that a client has to read why its message is refused."""
READ_BYTES = 65_536


def bound_messages(protocol: Any, max_bytes: int, option: str, tasks: TaskSet) -> None:
    """Have a message that is larger closed with 1009, and a reason that names the option.

    tornado closes the connection with the message unread, at which the system breaks it off, and the client may never
    read the reason. So what is on its way is read and dropped first.

    protocol: tornado's; one whose inside is another one keeps its own bound. tasks: holds the task that does so.
    """
    if not hasattr(protocol, "params") or not hasattr(protocol, "_abort"):
        return
    protocol.params.max_message_size = max_bytes
    decompressor = getattr(protocol, "_decompressor", None)
    if decompressor is not None:
        decompressor._max_message_size = max_bytes
    close, abort = protocol.close, protocol._abort
    state = {"refused": False}

    def close_with_option(code: int | None = None, reason: str | None = None) -> None:
        if code == TOO_LARGE:
            state["refused"] = True
            reason = f"a message has more than {max_bytes} bytes ({option})"
        close(code, reason)

    def abort_when_read() -> None:
        if not state["refused"]:
            abort()
        elif not protocol.client_terminated:
            protocol.client_terminated = True  # tornado reads no more
            tasks.start(_drop_the_rest(protocol.stream, abort), name="refusing a message")

    protocol.close, protocol._abort = close_with_option, abort_when_read


async def _drop_the_rest(stream: IOStream, abort: Callable[[], None]) -> None:
    """Read until the client has closed the connection, or its time is over; then abort."""
    told = isinstance(stream.socket, ssl.SSLSocket)  # one side of TLS cannot be closed alone
    try:
        with suppress(StreamClosedError, OSError):
            async with asyncio.timeout(LINGER_S):
                while True:
                    if not told and not stream.writing():
                        told = True
                        stream.socket.shutdown(socket.SHUT_WR)
                    await stream.read_bytes(READ_BYTES, partial=True)
    finally:
        abort()
