"""A response that goes out while its cell runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from ...errors import FPSKernelsError
from ..deadline import ClientDisconnected, RequestDeadline
from ..pool import KernelPool
from ..worker import Assignment, Worker, run_cell
from .stream_formats import Stream

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""For a client that reads slowly; its cell is interrupted then."""


class TooSlow(Exception):
    """The client reads a stream so slowly that too much waits for it."""


class StreamedCell:
    """What a cell prints, in pieces. The cell runs in a task of its own, from the start.

    So a client that does not read keeps neither a kernel nor the deadline from ending: `send` waits for it for ever.
    """

    def __init__(
        self,
        worker: Worker,
        pool: KernelPool,
        assignment: Assignment,
        source: str,
        stream: Stream,
        deadline: RequestDeadline,
    ) -> None:
        self._worker = worker
        self._pool = pool
        self._assignment = assignment
        self._source = source
        self._stream = stream
        self._deadline = deadline
        self._waiting: list[bytes] = []
        self._size = 0
        self._wake = asyncio.Event()
        self._too_much = asyncio.get_running_loop().create_future()
        self._error: tuple[str, str] | None = None
        self._work = asyncio.create_task(self._run(), name="streamed cell")

    def response(self, on_end: Callable[[], None]) -> Response:
        return _PiecewiseResponse(self, self._stream.content_type, on_end)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All that is sent. What goes wrong is too late for a status: it is the last piece."""
        while not self._work.done():
            await self._wake.wait()
            yield self._take()
        yield self._take()
        self._work.result()
        yield self._stream.error(*self._error) if self._error is not None else self._stream.end()

    async def close(self) -> None:
        """End the cell, if it runs."""
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)

    async def _run(self) -> None:
        """Until the kernel is given back."""
        try:
            with self._pool.releasing(self._worker):
                await self._deadline.wait_for(self._execute())
        except ClientDisconnected:
            self._drop()
        except TimeoutError:
            self._error = ("Timeout", f"no end within {self._deadline.timeout_s:g} s")
        except TooSlow:
            self._error = ("TooSlow", "too much waits for the client")
            self._drop()
        except FPSKernelsError as exc:
            self._error = (exc.ename, exc.message)
        finally:
            self._wake.set()

    async def _execute(self) -> None:
        running = asyncio.create_task(
            run_cell(self._worker, self._assignment, self._source, self._on_output), name="cell"
        )
        try:
            await asyncio.wait([running, self._too_much], return_when=asyncio.FIRST_COMPLETED)
            if self._too_much.done():
                raise TooSlow
            reply = running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if reply.get("status") != "ok":
            self._error = (str(reply.get("ename", "")), str(reply.get("evalue", "")))

    def _on_output(self, msg_type: str, content: dict[str, Any]) -> None:
        if msg_type != "stream" or content.get("name") != "stdout" or self._too_much.done():
            return
        if self._size > MAX_WAITING_BYTES:  # before: one large text is nobody's fault
            self._too_much.set_result(None)
            return
        piece = self._stream.text(str(content.get("text", "")))
        self._waiting.append(piece)
        self._size += len(piece)
        self._wake.set()

    def _take(self) -> bytes:
        pieces = b"".join(self._waiting)
        self._drop()
        self._wake.clear()
        return pieces

    def _drop(self) -> None:
        self._waiting, self._size = [], 0


class _PiecewiseResponse(Response):
    """Starlette's StreamingResponse closes its generator only when it is collected."""

    def __init__(self, cell: StreamedCell, content_type: str, on_end: Callable[[], None]) -> None:
        super().__init__(headers={"Content-Type": content_type})
        del self.headers["Content-Length"]
        self._cell = cell
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        try:
            with contextlib.suppress(OSError):  # the client has gone
                await send(start)
                async for piece in self._cell.pieces():
                    if piece:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            await self._cell.close()
            self._on_end()
