"""The live state of all kernels for the pages that watch: one sampler for all, which runs only while somebody watches.

There are no queues. A sample takes the place of the one before, and a watcher is told what has changed since the sample
that it was told last: one that reads slowly gets fewer and later samples, and costs no memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..errors import TooManyWatchers
from ..kernels.keeping.keepsake import Keepsake
from ..kernels.kernel import Kernel, format_date
from ..tasks import TaskSet
from ..threads import DaemonThreads
from .kernel_view import MessageRates, PageSession, Usage, view_of
from .process_usage import ProcessSampler

logger = logging.getLogger(__name__)

MAX_WATCHERS = 50
"""Each is a connection, and has its share of the changes written as JSON once a second."""
SAMPLE_S = 1.0
"""Seconds from one sample to the next: an idle kernel that runs a short cell is seen to be busy, or missed."""
USAGE_S = 2.0
"""Seconds from one look at all processes to the next; a look takes 10 ms for 300 processes, in a thread."""
USAGE_TIMEOUT_S = 10.0
"""Seconds after which a look is given up. One that hangs is not followed by another before it ends."""
HEARTBEAT_S = 15.0
"""Seconds without a sample after which a watcher is sent something all the same."""
STREAM_S = 300.0
"""Seconds after which a stream ends. The page opens another one, whose rights are checked anew."""

HEARTBEAT = b": still here\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx and its kin would collect what is to be read as it comes
}


Sessions = Mapping[str, list[PageSession]]
"""Who uses the kernels, by the kernels' ids."""


@dataclass(frozen=True, slots=True)
class KernelSource:
    """The kernels of a server.

    kernels: returns all that the API lists.
    sessions: returns theirs.
    keepsake: what knows which of them outlive the server.
    started: when the server was started.
    notebook_page: what comes before a notebook's path in the URL of its page, from the base URL; "" for no such pages.
    """

    kernels: Callable[[], Iterable[Kernel]]
    sessions: Callable[[], Awaitable[Sessions]]
    keepsake: Keepsake
    started: datetime
    notebook_page: str = ""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the user of a watcher may do: write kernels, and read sessions. Who watches may read kernels."""

    write: bool = True
    sessions: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """All kernels at one moment.

    at: when that was.
    kernels, sessions: what is shown, as JSON, by the kernels' ids in the order of the API.
    """

    at: str = ""
    kernels: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, str] = field(default_factory=dict)


class KernelFeed:
    """The samples of a server's kernels, for a bounded number of watchers."""

    def __init__(self, source: KernelSource) -> None:
        self._source = source
        self._watchers = 0
        self._tasks = TaskSet()
        self._usage: Mapping[int, Usage] = {}
        self._names: dict[str, str] = {}
        self._sample = Sample()
        self._sampled = asyncio.Event()  # replaced by another one with each sample
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return self._watchers

    @property
    def sampling(self) -> bool:
        """Whether the sampler runs."""
        return len(self._tasks) > 0

    def check_room(self) -> None:
        """Raises TooManyWatchers."""
        if self._watchers >= MAX_WATCHERS:
            raise TooManyWatchers(MAX_WATCHERS)

    def close(self) -> None:
        """End all streams, and take no more. May be called twice, and before the event loop runs."""
        self._closed = True
        self._sampled.set()
        self._stop()

    @contextmanager
    def watch(self, rights: Rights) -> Iterator[AsyncIterator[bytes]]:
        """The events of one watcher, while the context is open. Raises TooManyWatchers."""
        self.check_room()
        self._watchers += 1
        if self._watchers == 1 and not self._closed:
            self._tasks.start(self._run(), name="samples of kernels")
            self._tasks.start(self._look(), name="samples of processes")
        try:
            yield self._events(rights)
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._sample, self._usage = Sample(), {}

    async def _events(self, rights: Rights) -> AsyncIterator[bytes]:
        """What a watcher is sent: first all, then what has changed, until the stream has lasted long enough."""
        deadline = asyncio.get_running_loop().time() + STREAM_S
        yield _event("server", json.dumps(self._about(rights)))
        told = Sample()
        while not self._closed and asyncio.get_running_loop().time() < deadline:
            if self._sample is told or not self._sample.at:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await self._sampled.wait()
                except TimeoutError:
                    yield HEARTBEAT
                continue
            before, told = told, self._sample
            yield _event("kernels", changes(before, told, sessions=rights.sessions))

    def _about(self, rights: Rights) -> dict[str, Any]:
        """What the page says of the server, and which buttons it has."""
        source = self._source
        keeper = source.keepsake.keeper
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": format_date(source.started),
            "keeps": "never" if keeper is None else "always" if source.keepsake.stays else "crash",
            "keeper_pid": None if keeper is None else keeper.client.hello.get("pid"),
            "may_write": rights.write,
            "notebook_page": source.notebook_page,
        }

    async def _run(self) -> None:
        """Take samples until cancelled."""
        rates = MessageRates()
        clock = asyncio.get_running_loop().time
        failing = False
        while True:
            try:
                sessions = await self._source.sessions()
                kernels = list(self._source.kernels())
                now = clock()
                views = {
                    one.id: view_of(
                        one,
                        self._usage,
                        self._source.keepsake,
                        rates.of(one.id, one.server.journal.tally, now),
                        self._names,
                    )
                    for one in kernels
                }
                rates.keep_only(list(views))
                self._show(
                    Sample(
                        format_date(datetime.now(UTC)),
                        {kernel_id: json.dumps(view) for kernel_id, view in views.items()},
                        {kernel_id: json.dumps(sessions.get(kernel_id, [])) for kernel_id in views},
                    )
                )
                failing = False
            except Exception:  # of a manager of sessions that somebody has configured, say
                if not failing:
                    logger.exception("the page of kernels cannot be kept up to date")
                failing = True
            await asyncio.sleep(SAMPLE_S)

    def _show(self, sample: Sample) -> None:
        self._sample = sample
        sampled, self._sampled = self._sampled, asyncio.Event()
        sampled.set()

    async def _look(self) -> None:
        """Look at the processes until cancelled."""
        threads, sampler = DaemonThreads("processes of kernels", limit=1), ProcessSampler()
        while True:
            pids = {pid for one in self._source.kernels() if (pid := one.driver.pid) is not None}
            try:
                self._usage = await threads.run(sampler.sample, pids, timeout_s=USAGE_TIMEOUT_S)
            except TimeoutError:
                self._usage = dict.fromkeys(pids, Usage(note="Its processes could not be looked at in time"))
            except Exception as exc:  # of psutil, on a system where it is not at home
                logger.warning("processes of kernels cannot be looked at: %r", exc)
                self._usage = dict.fromkeys(pids, Usage(note="Its processes cannot be looked at"))
            await asyncio.sleep(USAGE_S)


def changes(before: Sample, after: Sample, *, sessions: bool) -> str:
    """What a watcher is told that knows the sample before, as JSON.

    kernels, sessions: what is new or has changed, by the kernels' ids. gone: the ids of those that have ended.
    all: whether the watcher knew nothing, so that all other kernels that its page shows are gone, too.
    """
    parts = [f'"at": {json.dumps(after.at)}', f'"all": {json.dumps(not before.at)}']
    for name, old, new in (
        ("kernels", before.kernels, after.kernels),
        ("sessions", before.sessions, after.sessions if sessions else {}),
    ):
        changed = (f"{json.dumps(key)}: {text}" for key, text in new.items() if old.get(key) != text)
        parts.append(f'"{name}": {{{", ".join(changed)}}}')
    gone = [one for one in before.kernels if one not in after.kernels]
    return f'{{{", ".join(parts)}, "gone": {json.dumps(gone)}}}'


def _event(name: str, data: str) -> bytes:
    """A server-sent event. data: JSON, which has no line breaks."""
    return f"event: {name}\ndata: {data}\n\n".encode("ascii")
