"""What has become of one kernel's messages on their way to clients and back, as numbers that only grow. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

FROM_KERNEL = "from_kernel"
TO_KERNEL = "to_kernel"


@dataclass(slots=True)
class Flow:
    """What went one way on one channel. bytes: of all frames of the messages, without their signatures."""

    messages: int = 0
    bytes: int = 0


def _flows() -> dict[tuple[str, str], Flow]:
    flows = {(FROM_KERNEL, channel): Flow() for channel in ("iopub", "shell", "control", "stdin")}
    return flows | {(TO_KERNEL, channel): Flow() for channel in ("shell", "control", "stdin")}


@dataclass(slots=True)
class Tally:
    """The counters of a kernel's web side.

    flows: by direction and channel; of iopub, what clients may hear.
    merged: stream messages that became part of another one.
    truncated: stream messages whose text was cut because of a rate limit.
    replayed: messages that had waited for a client that came back.
    missing: messages that a client was told are missing, because of a bound.
    opened: WebSockets.
    slow: WebSockets that were closed because their clients read too slowly.
    """

    flows: dict[tuple[str, str], Flow] = field(default_factory=_flows)
    merged: int = 0
    truncated: int = 0
    replayed: int = 0
    missing: int = 0
    opened: int = 0
    slow: int = 0

    def add(self, other: Tally) -> None:
        """Count what another one has counted, too."""
        for key, flow in other.flows.items():
            self.flows[key].messages += flow.messages
            self.flows[key].bytes += flow.bytes
        for name in ("merged", "truncated", "replayed", "missing", "opened", "slow"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def copy(self) -> Tally:
        """The counters as they are now."""
        return replace(self, flows={key: replace(flow) for key, flow in self.flows.items()})


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """A snapshot of a journal.

    away: sessions whose clients are not connected.
    held_bytes: what is kept for clients, connected or not.
    """

    away: int
    held_bytes: int
