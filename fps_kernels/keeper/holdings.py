"""All kernels that a keeper holds, and how they end with it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import zmq

from ..errors import FPSKernelsError
from ..kernel_driver.turns import Turns
from ..tasks import TaskSet
from .holder import Holder, Prepare
from .record import RecordBounds

logger = logging.getLogger(__name__)

KERNEL_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""Ids that can stand in the name of a file; as in own_connection_file.py."""
MAX_BYTES = 1024 * 1024 * 1024
"""What is kept of all kernels together: a keeper must not be what runs out of memory. The largest gives way."""
END_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL for a kernel that ends with its keeper."""


class NotHeld(FPSKernelsError):
    """The keeper holds no kernel with this id."""

    status = 404


class BadCall(FPSKernelsError):
    """A call is not one that this keeper knows, or lacks something; the message says what."""

    status = 400


class Holdings:
    """The kernels by their ids, and by the handles that frames name them with.

    folder: where the files of their stderr are.

    servers: the number of servers that are connected. visited: whether one has ever said hello.
    """

    def __init__(self, folder: Path) -> None:
        self.servers = 0
        self.visited = False
        self.alone_since = time.monotonic()
        self._folder = folder / "kernels"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._turns = Turns()
        self._by_id: dict[str, Holder] = {}
        self._by_handle: dict[int, Holder] = {}
        self._next_handle = 1
        self._generation = 0
        self._tasks = TaskSet()  # the ends of kernels that were forgotten while they ran

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Holder]:
        return iter(tuple(self._by_id.values()))

    def find(self, kernel_id: str) -> Holder:
        """Raises NotHeld."""
        holder = self._by_id.get(kernel_id)
        if holder is None:
            raise NotHeld(f"No kernel of this keeper: {kernel_id}")
        return holder

    def by_handle(self, handle: int) -> Holder | None:
        return self._by_handle.get(handle)

    def make(self, kernel_id: str, bounds: RecordBounds | None = None, next_seq: int = 0) -> Holder:
        """The kernel with this id, a new one if there is none."""
        if not KERNEL_ID.fullmatch(kernel_id):
            raise BadCall("the id of a kernel has other characters than letters, digits, - and _")
        holder = self._by_id.get(kernel_id)
        if holder is None:
            holder = Holder(kernel_id, self._next_handle, self._context, self._turns, bounds, next_seq)
            self._by_id[kernel_id] = self._by_handle[self._next_handle] = holder
            self._next_handle += 1
        return holder

    def leave(self, linger_ms: int) -> dict[str, Any]:
        """Leave all kernels to the next program: returns plain values for `resume`. Blocks, as long as at most that.

        linger_ms: how long libzmq may send what it has.
        """
        holders = [holder.leave(linger_ms) for holder in self]
        self._context.destroy(linger_ms)
        numbers = {"next_handle": self._next_handle, "generation": self._generation}
        return {**numbers, "visited": self.visited, "kernels": holders}

    def resume(self, state: Mapping[str, Any], prepare: Prepare) -> None:
        """Go on with all kernels that the program before has left; of one that cannot be, a line is logged."""
        self._next_handle, self._generation = state["next_handle"], state["generation"]
        self.visited = state["visited"]
        for one in state["kernels"]:
            holder = Holder(one["kernel"], one["handle"], self._context, self._turns)
            self._by_id[holder.kernel_id] = self._by_handle[holder.handle] = holder
            try:
                holder.resume(one, prepare)
            except (FPSKernelsError, OSError) as exc:
                logger.error("kernel %s: %s", holder.kernel_id, exc)
            if holder.alias is not None:
                self._by_handle[holder.alias] = holder

    @property
    def ending(self) -> bool:
        """Whether kernels that were forgotten are being ended."""
        return bool(self._tasks)

    def stderr_path(self, kernel_id: str) -> Path:
        """The file for the stderr of a kernel."""
        return self._folder / f"{kernel_id}.err"

    def next_generation(self) -> int:
        """A number for a process that is about to be launched: larger than that of any other."""
        self._generation += 1
        return self._generation

    def note_generation(self, generation: int) -> None:
        """A process has this number, which another keeper has given to it."""
        self._generation = max(self._generation, generation)

    def rename(self, holder: Holder, to: str) -> Holder:
        """Make the process of a kernel that of another one: a new one, or one whose process has ended; returns that.

        Raises BadCall.
        """
        other = self._by_id.get(to)
        if not KERNEL_ID.fullmatch(to) or other is holder or (other is not None and other.running):
            raise BadCall("the new id is taken, or no id of a kernel")
        del self._by_id[holder.kernel_id]
        if other is None:
            self._by_id[to] = holder
            holder.rename(to, self.stderr_path(to))
            return holder
        holder.detach_all()
        self._forget_alias(other)
        other.take_process(holder, self.stderr_path(to))
        self._by_handle[holder.handle] = other
        return other

    def _forget_alias(self, holder: Holder) -> None:
        if holder.alias is not None:
            self._by_handle.pop(holder.alias, None)

    def forget(self, holder: Holder) -> None:
        """Hold a kernel no longer; it is ended if it runs."""
        if self._by_id.pop(holder.kernel_id, None) is None:
            return
        self._by_handle.pop(holder.handle, None)
        self._forget_alias(holder)
        holder.detach_all()
        if holder.running:
            self._tasks.start(holder.end(0.0), name=f"end of {holder.kernel_id}")
        else:
            holder.close()
            holder.remove_files()  # unless a server does that

    def look_after(self) -> None:
        """What is to be done now and then: all that is kept is held within its bounds. Blocks, for a moment."""
        while sum(holder.record.size for holder in self) > MAX_BYTES:
            max(self, key=lambda holder: holder.record.size).record.shrink()
        for holder in self:
            holder.look_after()

    async def end_all(self, grace_s: float = END_GRACE_S) -> None:
        """End all kernels, in bounded time."""
        holders = list(self)
        if holders:
            logger.info("ending %d kernels", len(holders))
        await asyncio.gather(*(holder.end(grace_s) for holder in holders), return_exceptions=True)
        await self._tasks.join()

    def close(self) -> None:
        """Let go of all kernels; those that run go on."""
        for holder in self:
            holder.close()
        self._by_id.clear()
        self._by_handle.clear()
        self._context.destroy(linger=0)
