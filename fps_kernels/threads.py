"""Threads for blocking calls that may never return: they hold up neither other calls nor the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs blocking calls, each in a thread of its own.

    Not asyncio's executor: everything else that blocks shares its few threads, and the process waits for them at its
    end.

    name: what the threads are called.
    limit: how many calls may run at the same time, including those that nobody waits for any more.
    """

    def __init__(self, name: str, limit: int = 8) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(limit)

    async def run(self, call: Callable[..., T], *args: Any, timeout_s: float) -> T:
        """Return what `call(*args)` returns. Raises what it raises, and TimeoutError; the call goes on then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: Exception | None) -> None:
            self._slots.release()
            if future.done():  # given up
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only where T has it

        def work() -> None:
            result, error = None, None
            try:
                result = context.run(call, *args)
            except Exception as exc:
                error = RuntimeError(repr(exc)) if isinstance(exc, StopIteration) else exc  # no future takes that
            except BaseException as exc:  # SystemExit would end the server
                error = RuntimeError(repr(exc))
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(finish, result, error)

        context = contextvars.copy_context()
        async with asyncio.timeout(timeout_s):
            await self._slots.acquire()
            try:
                threading.Thread(target=work, name=self._name, daemon=True).start()
            except BaseException:
                self._slots.release()
                raise
            return await future
