"""Ctrl-C: stops the kernels before the host's HTTP server waits for its requests."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any


class InterruptChain:
    """A handler of SIGINT that stops the kernels, and then calls the handler that was set before.

    For a host like plain jupyverse. At SIGTERM it tears down its context, ours first; but SIGINT goes to uvicorn, which
    waits without end for requests in flight, among them those that wait for a kernel.

    stop: called at the first SIGINT.
    """

    def __init__(self, stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._stop = stop
        self._stopping: asyncio.Task[None] | None = None
        self._previous: Callable[[int, FrameType | None], Any] | None = None

    def chain(self) -> None:
        """Set the handler; to be called on the event loop, when the server is up.

        Does nothing where SIGINT raises KeyboardInterrupt.
        """
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread():
            return
        if not callable(previous) or previous is signal.default_int_handler:
            return
        self._loop = asyncio.get_running_loop()
        self._previous = previous
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._begin)
        if self._previous is not None:
            self._previous(signum, frame)

    def _begin(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop at SIGINT")

    async def close(self) -> None:
        """Restore the handler, and wait for the stop that SIGINT began."""
        if self._previous is not None and signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, self._previous)
        if self._stopping is not None:
            await self._stopping
