"""A response that is sent while its cell runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Receive, Scope, Send

from ...errors import FPSKernelsError
from ...tasks import cancel_and_wait
from ..bounds import Bounds
from ..deadline import ClientDisconnected, RequestDeadline
from ..worker import OnOutput
from .stream_formats import Stream

HEADERS = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""They keep caches and proxies (nginx and its kin) from collecting a stream, which a client is to read as it comes."""


class StreamedReply:
    """What a cell prints, sent piece by piece; an ASGI application for one request.

    The cell runs in a task of its own. A client that does not read keeps this one waiting in `send`, but neither the
    cell from its deadline nor its kernel from the next request.

    run(on_output): runs the cell, until the kernel has been released. It is cancelled when the client does not keep
      pace. Returns the content of the cell's execute_reply.
    """

    def __init__(
        self,
        run: Callable[[OnOutput], Coroutine[Any, Any, dict[str, Any]]],
        stream: Stream,
        deadline: RequestDeadline,
        bounds: Bounds,
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._bounds = bounds
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._wake = asyncio.Event()
        self._sending = False
        self._too_slow = False
        self._cell = asyncio.create_task(run(self._on_output), name="streamed cell")
        self._cell.add_done_callback(lambda _: self._wake.set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", self._stream.content_type.encode()), *HEADERS]
        try:
            await asyncio.sleep(0)  # the cell starts: a task that is cancelled before would not release its kernel
            with contextlib.suppress(OSError):  # the client has gone
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                while not self._cell.done():
                    try:
                        async with asyncio.timeout(self._bounds.keep_alive_s):
                            await self._wake.wait()
                        piece = self._take()
                    except TimeoutError:
                        piece = self._stream.keep_alive()
                    if piece:
                        self._sending = True
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                        self._sending = False
                await send({"type": "http.response.body", "body": self._take() + self._end()})
        finally:
            await cancel_and_wait(self._cell)

    def _on_output(self, msg_type: str, content: dict[str, Any]) -> None:
        if msg_type != "stream" or content.get("name") != "stdout" or self._too_slow:
            return
        # While nothing is being sent, the client is not to blame: a batch of large texts has just arrived.
        if self._sending and self._unsent_bytes > self._bounds.max_unsent_bytes:
            self._too_slow = True
            self._take()
            self._cell.cancel()
            return
        piece = self._stream.text(str(content.get("text", "")))
        self._unsent.append(piece)
        self._unsent_bytes += len(piece)
        self._wake.set()

    def _take(self) -> bytes:
        """What has not been sent yet."""
        pieces = b"".join(self._unsent)
        self._unsent, self._unsent_bytes = [], 0
        self._wake.clear()
        return pieces

    def _end(self) -> bytes:
        """The last piece, when the cell has ended. The status has been sent long before: an error is told here."""
        if self._too_slow:
            return self._stream.error("TooSlow", "too much output waits for the client")
        try:
            reply = self._cell.result()
        except ClientDisconnected:
            return b""
        except TimeoutError:
            return self._stream.error("Timeout", f"the cell did not end within {self._deadline.timeout_s:g} s")
        except FPSKernelsError as exc:
            return self._stream.error(exc.ename, exc.message)
        if reply.get("status") != "ok":
            return self._stream.error(str(reply.get("ename", "")), str(reply.get("evalue", "")))
        return self._stream.end()
