"""One connection of a server to a keeper: hello, pings, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol, cast

from .. import __version__
from ..keeper.keeper_wire import (
    BATCH,
    CALL,
    EVENT,
    OLDEST,
    PING,
    PONG,
    PROTOCOL,
    BadFrame,
    Frame,
    FrameReader,
    decode_json,
    encode,
    encode_json,
)
from ..keeper.server_connection import PING_INTERVAL_S, SILENCE_S
from ..kernel_driver.header import Buffer

logger = logging.getLogger(__name__)


class ConnectionUser(Protocol):
    """Who uses the connection."""

    def on_frame(self, frame: Frame) -> None:
        """A frame that is no hello and no ping. Raises BadFrame."""

    def on_silence(self, silent: bool) -> None:
        """Nothing was heard for SILENCE_S, or something is heard again."""

    def on_lost(self, connection: KeeperConnection) -> None:
        """The connection has ended."""


class KeeperConnection(asyncio.Protocol):
    """One connection to a keeper."""

    def __init__(self, user: ConnectionUser) -> None:
        self.lost = asyncio.Event()
        self._user = user
        self._loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._begun = False
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._looked_at = self._loop.time()
        self._silent = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting_bytes(self) -> int:
        """What has not been handed to the system."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    async def hello(self, server_id: str) -> dict[str, Any]:
        """Say hello; returns the keeper's answer."""
        spoken = {"protocol": PROTOCOL, "oldest": OLDEST, "version": __version__}
        self.write(encode_json(CALL, {"do": "hello", "id": 0, "server": server_id, **spoken}))
        return await self._hello

    def begin(self) -> None:
        """The keeper is one that we can talk to."""
        self._begun = True
        self._looked_at = self._loop.time()
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._look)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if not self._hello.done():
            self._hello.set_result({"error": "The process that keeps kernels has closed the connection"})
        self._user.on_lost(self)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._silent:
            self._silent = False
            self._user.on_silence(False)
        try:
            for frame in self._reader.feed(data):
                self._on_frame(frame)
        except BadFrame as exc:
            logger.error("the keeper sends what it should not: %s", exc)
            self.close()

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == PING:
            self.write(encode(PONG))
        elif frame.kind == EVENT and not self._hello.done():
            answer = decode_json(frame)
            reason = {"error": f"The process that keeps kernels refuses: {answer.get('reason')}"}
            self._hello.set_result(answer if answer.get("event") == "answer" else reason)
        elif frame.kind in (BATCH, EVENT):
            if self._begun:
                self._user.on_frame(frame)
        elif frame.kind != PONG:
            raise BadFrame(f"a frame of kind {frame.kind}, which keepers do not send")

    def write(self, data: bytes | Buffer) -> None:
        """Write something, if the connection is there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _look(self) -> None:
        """Ask whether the keeper is there; its silence does not count while this process itself did not run."""
        now = self._loop.time()
        if now - self._looked_at > 2 * PING_INTERVAL_S:
            self._heard_at = now
        self._looked_at = now
        if now - self._heard_at > SILENCE_S and not self._silent:
            self._silent = True
            self._user.on_silence(True)
        if not self.waiting_bytes:
            self.write(encode(PING))
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._look)

    def close(self, *, now: bool = False) -> None:
        """Close the connection. now: without waiting until the keeper has read what was written."""
        if self._transport is not None:
            if now:
                self._transport.abort()
            else:
                self._transport.close()
