"""The starts and restarts of one kernel, one at a time: the last one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..errors import Conflict
from ..tasks import TaskSet


class Succession:
    """Tasks of which each takes the place of the one before.

    tasks: the set that owns them.
    ending: whether the last one is still ending the process before; set by the last one.
    """

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._last: asyncio.Task[None] | None = None
        self.ending = False

    @property
    def running(self) -> bool:
        """Whether the last one is running."""
        return self._last is not None and not self._last.done()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` in a task, which is the last one from now on."""
        self._last = self._tasks.start(work, name=name, log_failure=False)

    def give_up(self) -> asyncio.Task[None] | None:
        """Cancel the last one and return it, if it runs. It must have ended before the next one gets a process."""
        last = self._last
        if last is None or last.done():
            return None
        last.cancel()
        return last

    async def finish(self) -> None:
        """Wait for the last one, and for those that take its place meanwhile.

        A caller that is cancelled leaves it alone. Raises what it raises; Conflict when a shutdown has cancelled it.
        """
        last = None
        while last is not self._last:
            last = self._last
            assert last is not None
            await asyncio.wait([last])
        assert last is not None
        if last.cancelled():
            raise Conflict("The kernel was shut down before it was ready")
        last.result()
