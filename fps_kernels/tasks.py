"""Background tasks with an owner: named, awaited, and logged when they fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class TaskSet:
    """The background tasks of one owner.

    A task leaves the set when it ends. A failure is logged, unless the task was started with `log_failure=False`:
    then it is for whoever awaits the task, and lost if nobody does.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._tasks))

    def start(self, work: Coroutine[Any, Any, T], *, name: str, log_failure: bool = True) -> asyncio.Task[T]:
        """Run `work` in the background."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_if_failed if log_failure else _mark_seen)
        return task

    async def join(self) -> None:
        """Wait until all tasks have ended, including those started meanwhile. Their errors are not raised."""
        while tasks := list(self._tasks):
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)  # their callbacks may not have run

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended. Idempotent."""
        while tasks := list(self._tasks):
            await cancel_and_wait(*tasks)
            self._tasks.difference_update(tasks)  # as in join()


async def cancel_and_wait(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended. None is skipped; what the tasks raise is ignored."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def log_if_failed(task: asyncio.Task[Any]) -> None:
    """A done callback that logs the exception a task ended with. Cancellation is no failure."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=exc)


def _mark_seen(task: asyncio.Task[Any]) -> None:
    """A done callback that keeps asyncio from logging an exception that nobody has asked for."""
    if not task.cancelled():
        task.exception()
