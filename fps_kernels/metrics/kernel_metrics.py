"""The numbers of all kernels of a process, as Prometheus' families. They are read when somebody asks, not kept here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..kernels.kernel_counts import KernelCounts
from ..kernels.prewarm import PrewarmPool
from .families import ALONE, counter, gauge, histogram

if TYPE_CHECKING:
    from ..kernels.keeping.kernel_keeper import KernelKeeper


class KernelMetrics(Collector):
    """A collector of what is known of kernels.

    counts: those of the kernels' runtime.
    pool: kernels that are kept ready.
    keeper: what keeps kernels; None if nothing does.
    """

    def __init__(self, counts: KernelCounts, pool: PrewarmPool, keeper: KernelKeeper | None) -> None:
        self._counts = counts
        self._pool = pool
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        yield gauge("info", "The version of fps_kernels that runs.", {(__version__,): 1}, ["version"])
        yield from self._kernels()
        yield from self._lives()
        yield from self._messages()
        yield from self._clients()
        if self._keeper is not None:
            yield gauge("keeper_up", "Whether the process that keeps kernels answers.", {ALONE: self._keeper.well})

    def _kernels(self) -> Iterator[Metric]:
        counts = self._counts
        states = Counter((counts.name_of(one), one.execution_state.value) for one in tuple(counts.live))
        yield gauge("kernels", "Kernels by their state.", states, ["kernelspec", "state"])
        waiting = sum(bool(one.client.state.unresponsive) for one in tuple(counts.live))
        yield gauge("unresponsive_kernels", "Kernels that do not answer, though their process lives.", {ALONE: waiting})
        ready, all_ = self._pool.ready, len(self._pool)
        numbers = {("ready",): ready, ("starting",): all_ - ready}
        yield gauge("pool_kernels", "Kernels that are kept ready for the next starts.", numbers, ["state"])

    def _lives(self) -> Iterator[Metric]:
        counts = self._counts
        yield histogram(
            "kernel_start_seconds",
            "Seconds until a kernel's process answered, restarts included: launched for it (cold), from a pool (warm), "
            "or used by others before (found).",
            counts.starts,
            ["kernelspec", "how"],
        )
        for name, help_, numbers, label in (
            ("kernel_restarts", "Restarts, by a user or after a death.", counts.restarts, "cause"),
            ("kernel_deaths", "Processes of kernels that ended unasked.", counts.deaths, "reason"),
        ):
            yield counter(name, help_, numbers, ["kernelspec", label])
        for name, help_, of_names in (
            ("kernel_start_failures", "Kernels whose first process did not answer.", counts.failed_starts),
            ("kernels_culled", "Kernels that were idle for too long.", counts.culled),
        ):
            yield counter(name, help_, {(one,): number for one, number in of_names.items()}, ["kernelspec"])

    def _messages(self) -> Iterator[Metric]:
        tally = self._counts.tally()
        ways = ["direction", "channel"]
        messages = {way: flow.messages for way, flow in tally.flows.items()}
        sizes = {way: flow.bytes for way, flow in tally.flows.items()}
        yield counter("messages", "Messages between kernels and clients.", messages, ways)
        yield counter("message_bytes", "Bytes of these messages, without their signatures.", sizes, ways)
        for name, help_, number in (
            ("messages_merged", "Stream messages that became part of another one.", tally.merged),
            ("messages_truncated", "Stream messages whose text a rate limit has cut.", tally.truncated),
            ("messages_replayed", "Messages that had waited for a client that came back.", tally.replayed),
            ("messages_missing", "Messages that clients were told are missing, because of a bound.", tally.missing),
            ("websockets_opened", "WebSockets to kernels.", tally.opened),
            ("slow_clients_closed", "WebSockets closed as their clients read too slowly.", tally.slow),
        ):
            yield counter(name, help_, {ALONE: number})

    def _clients(self) -> Iterator[Metric]:
        kernels = tuple(self._counts.live)
        journals = [one.server.journal.statistics() for one in kernels]
        for name, help_, number in (
            ("websockets", "WebSockets to kernels that are open.", sum(one.server.connections for one in kernels)),
            ("sessions_away", "Clients that are not connected, and remembered.", sum(one.away for one in journals)),
            ("held_bytes", "Bytes that are kept for clients.", sum(one.held_bytes for one in journals)),
            (
                "requests_pending",
                "Requests that kernels have not answered.",
                sum(one.client.pending for one in kernels),
            ),
        ):
            yield gauge(name, help_, {ALONE: number})
