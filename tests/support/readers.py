"""A client of a journal without a WebSocket: what it is sent, as channels and frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fps_kernels.kernel_server.encoder import Encoder
from fps_kernels.kernel_server.journal import Journal
from fps_kernels.kernel_server.outbox import SessionOutbox
from fps_kernels.kernel_server.page_pace import PagePace
from fps_kernels.kernel_server.rate_limit import RateLimits

Sent = tuple[str, Sequence[bytes]]


class PlainEncoder(Encoder):
    """An encoder that leaves channels and frames as they are."""

    def encode(self, channel: str, frames: Sequence[bytes]) -> Any:
        return channel, frames


class Kernel:
    """A kernel's client, as far as an outbox needs it."""

    kernel_session = "kernel"


class Reader:
    """An attached session and the outbox it is read through."""

    def __init__(
        self,
        journal: Journal,
        session_id: str = "me",
        now: float = 0.0,
        rates: RateLimits | None = None,
        *,
        maybe_lost: bool = False,
        page_wait_s: float = 0.0,
    ) -> None:
        self.session = journal.attach(session_id, now, maybe_lost=maybe_lost)
        pace = PagePace(page_wait_s) if page_wait_s else None
        encoder = PlainEncoder(v1=True)
        self.outbox = SessionOutbox(self.session, journal.log, rates or RateLimits(), encoder, Kernel(), pace)

    def take(self, now: float = 0.0) -> list[Sent]:
        """What is to be sent next; not sent yet."""
        run = self.outbox.take(now)
        return [] if run is None else list(run.messages)  # type: ignore[arg-type]

    def sent(self, number: int, now: float = 0.0, *, waited: bool = False) -> None:
        """So many of what was taken last were sent."""
        self.outbox.sent(number, now, waited=waited)

    def read(self, now: float = 0.0, *, waited: bool = False) -> list[Sent]:
        """All that is due."""
        got: list[Sent] = []
        while messages := self.take(now):
            self.sent(len(messages), now, waited=waited)
            got += messages
        return got
