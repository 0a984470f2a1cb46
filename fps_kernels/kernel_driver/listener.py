"""Callbacks for a kernel's messages, with their filters, and all of them together."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from .message import Message

logger = logging.getLogger(__name__)

Callback = Callable[[str, Sequence[bytes]], Awaitable[None] | None]
"""callback(channel_name, frames); frames: header, parent_header, metadata, content, *buffers."""

BatchCallback = Callable[[str, list[Message]], None]
"""callback(channel_name, messages): called with what one drain of a channel brought."""

Filter = str | tuple[str, str]
"""A msg_type on any channel, or a pair (msg_type, channel)."""

QUEUE_MESSAGES = 10_000
"""How far an async listener may fall behind before its oldest messages are dropped, with a warning."""
MAX_ROUTES = 1_000
"""Message types whose listeners are remembered; a kernel could invent any number of types."""


class Listener:
    """A callback that hears a kernel's messages, as `KernelClient.add_listener` returns it.

    A sync callback is called on the loop as a message arrives. An async one runs in a task of its own, one message
    after the other, so that it never holds up the kernel or other listeners. What a callback raises is logged, and
    does not reach other callbacks.
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
        """Whether the filters let this type of message through."""
        if self._channels is not None and channel not in self._channels:
            return False
        keys = {msg_type, (msg_type, channel)}
        if self._types is not None and not keys & self._types:
            return False
        return not keys & self._excluded

    def deliver(self, channel: str, frames: Sequence[bytes]) -> None:
        """Give a message to the callback, or to its queue, whatever the filters say."""
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
        """Deliver nothing more, and drop what is queued. A callback that calls this itself may finish."""
        self._stopped = True
        self._queue.clear()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def stopped(self) -> None:
        """Return when the task has ended; call `stop` first."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)


class Listeners:
    """All callbacks of one kernel. It outlives the kernel's process, so that they survive restarts."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._batch_callbacks: tuple[BatchCallback, ...] = ()
        self._state_callbacks: tuple[Callable[[], None], ...] = ()
        self._routes: dict[tuple[str, str], tuple[Listener, ...]] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """Add a listener."""
        self._listeners.append(listener)
        self._routes.clear()

    def remove(self, listener: Listener | Callback) -> None:
        """Remove a listener, or all listeners with this callback, if there are any."""
        for found in [one for one in self._listeners if listener in (one, one.callback)]:
            self._listeners.remove(found)
            found.stop()
        self._routes.clear()

    def add_batch_callback(self, callback: BatchCallback) -> None:
        """Have `callback(channel, messages)` called before all listeners."""
        self._batch_callbacks = (*self._batch_callbacks, callback)

    def add_state_callback(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called by `on_state`."""
        self._state_callbacks = (*self._state_callbacks, callback)

    def on_state(self) -> None:
        """The kernel's state may have changed."""
        for callback in self._state_callbacks:
            callback()

    def deliver(self, channel: str, messages: list[Message]) -> None:
        """Give messages to all that want them. On shell, control and stdin, a listener's session must match, too."""
        for callback in self._batch_callbacks:
            callback(channel, messages)
        if not self._listeners:
            return
        for message in messages:
            key = (channel, message.msg_type)
            route = self._routes.get(key)
            if route is None:
                if len(self._routes) >= MAX_ROUTES:
                    self._routes.clear()
                route = self._routes[key] = tuple(listener for listener in self._listeners if listener.wants(*key))
            for listener in route:
                if channel == "iopub" or listener.session in (None, message.parent_session):
                    listener.deliver(channel, [*message.frames[:4], *message.buffers])

    async def close(self) -> None:
        """Remove all, and return when no callback runs any more."""
        for listener in self._listeners:
            listener.stop()
        for listener in self._listeners:
            await listener.stopped()
        self._listeners.clear()
        self._routes.clear()
        self._batch_callbacks = self._state_callbacks = ()
