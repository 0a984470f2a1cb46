"""A reader of a session without a WebSocket: what it is sent, as channels and frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fps_kernels.kernel_server.client_session import ClientSession
from fps_kernels.kernel_server.encoder import Encoder
from fps_kernels.kernel_server.iopub_log import IopubLog
from fps_kernels.kernel_server.outbox import SessionOutbox
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
    """A session and the outbox it is read through."""

    def __init__(self, session: ClientSession, log: IopubLog, rates: RateLimits | None = None) -> None:
        self.session = session
        self.outbox = SessionOutbox(session, log, rates or RateLimits(), PlainEncoder(v1=True), Kernel())

    def take(self) -> list[Sent]:
        """What is to be sent next; not sent yet."""
        run = self.outbox.take()
        return [] if run is None else list(run.messages)  # type: ignore[arg-type]

    def read(self) -> list[Sent]:
        """All that is due."""
        got: list[Sent] = []
        while messages := self.take():
            self.outbox.sent(len(messages))
            got += messages
        return got
