"""A callback for a kernel's messages, with its filters and, if it is async, its own queue."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

logger = logging.getLogger(__name__)

Callback = Callable[[str, Sequence[bytes]], Awaitable[None] | None]
"""callback(channel_name, frames); frames: header, parent_header, metadata, content, *buffers."""

Filter = str | tuple[str, str]
"""A msg_type on any channel, or a pair (msg_type, channel)."""

QUEUE_MESSAGES = 10_000
"""How far an async listener may fall behind before its oldest messages are dropped, with a warning."""


class Listener:
    """What `KernelClient.add_listener` returns.

    A sync callback runs at once, on the loop. An async one runs in a task of its own, one message
    after the other, so that it never holds up the kernel or other listeners. Neither hears of the
    other's exceptions: they are logged.
    """

    def __init__(
        self,
        callback: Callback,
        msg_types: Iterable[Filter] | None = None,
        exclude_msg_types: Iterable[Filter] | None = None,
        *,
        channels: Iterable[str] | None = None,
        session: str | None = None,
    ) -> None:
        self.callback = callback
        self.session = session
        self.dropped = 0
        self._types = None if msg_types is None else frozenset(msg_types)
        self._excluded = frozenset(exclude_msg_types or ())
        self._channels = None if channels is None else frozenset(channels)
        self._is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        self._queue: deque[tuple[str, Sequence[bytes]]] = deque()
        self._wake = asyncio.Event()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def wants(self, channel: str, msg_type: str) -> bool:
        if self._channels is not None and channel not in self._channels:
            return False
        keys = {msg_type, (msg_type, channel)}
        if self._types is not None and not keys & self._types:
            return False
        return not keys & self._excluded

    def deliver(self, channel: str, frames: Sequence[bytes]) -> None:
        if self._stopped:
            return
        if self._is_async:
            self._enqueue(channel, frames)
            return
        try:
            self.callback(channel, frames)
        except Exception:  # a listener's fault must not reach the kernel's other listeners
            logger.exception("a listener failed")

    def _enqueue(self, channel: str, frames: Sequence[bytes]) -> None:
        if len(self._queue) >= QUEUE_MESSAGES:
            self._queue.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("a listener is too slow: its oldest messages are dropped")
        self._queue.append((channel, frames))
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="kernel listener")

    async def _run(self) -> None:
        while not self._stopped:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            channel, frames = self._queue.popleft()
            try:
                result = self.callback(channel, frames)
                if result is not None:
                    await result
            except asyncio.CancelledError:
                if self._task is None or self._task.cancelling():
                    raise
                logger.exception("a listener failed")  # what it waited for was cancelled, not this task
            except Exception:  # as above
                logger.exception("a listener failed")

    def stop(self) -> None:
        """Deliver nothing more; what is queued is dropped. A callback that does this itself may finish."""
        self._stopped = True
        self._queue.clear()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def stopped(self) -> None:
        """Return when the task has ended, after `stop`."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)
