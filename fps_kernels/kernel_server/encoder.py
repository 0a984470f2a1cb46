"""Messages of a kernel as one WebSocket protocol writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..websocket.frame_batch import Pieces, Run
from . import wire
from .iopub_log import Entry
from .spec_adapter import Adapter

SHARED_RUNS = 4
"""Encoded runs of the log that are kept for the other readers."""

SHARED_MAX_BYTES = 1024 * 1024
"""The size of a single message from which on keeping it encoded is not worth the memory."""


class Encoder:
    """An encoder for one of the two WebSocket protocols, used by all clients that speak it.

    v1: whether that is v1.kernel.websocket.jupyter.org rather than the default protocol.
    adapter: what translates messages of a kernel that speaks another version of the message spec; None when
      there is nothing to translate. Only the default protocol does so.
    """

    def __init__(self, *, v1: bool) -> None:
        self.adapter: Adapter | None = None
        self._v1 = v1
        self._readers = 0
        self._runs: dict[tuple[int, int, int], Run] = {}

    def add_reader(self) -> None:
        """Count one more client. Runs are kept only while there are two or more."""
        self._readers += 1

    def remove_reader(self) -> None:
        """Count one client less."""
        self._readers -= 1
        if self._readers < 2:
            self._runs.clear()

    def encode(self, channel: str, frames: Sequence[bytes]) -> Pieces:
        """Encode one message."""
        if self._v1:
            return False, wire.v1_pieces(channel.encode(), frames)
        if self.adapter is not None:
            frames = self.adapter.from_kernel(frames)
        return wire.default_pieces(channel, frames)

    def encode_each(self, entries: Sequence[Entry]) -> Run:
        """Encode iopub messages for one client alone."""
        return Run([self.encode("iopub", entry.frames) for entry in entries])

    def encode_run(self, entries: Sequence[Entry]) -> Run:
        """Encode a run of the log as it is. Clients that keep pace read the same runs: those are encoded once."""
        if self._readers < 2 or (len(entries) == 1 and entries[0].size > SHARED_MAX_BYTES):
            return self.encode_each(entries)
        key = entries[0].seq, entries[-1].end, len(entries)  # merging changes how many there are
        run = self._runs.get(key)
        if run is None:
            run = self.encode_each(entries)
            if len(self._runs) >= SHARED_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[key] = run
        return run

    def forget_runs(self) -> None:
        """Forget what was kept: it will not be read again."""
        self._runs.clear()
