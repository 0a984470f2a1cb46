"""A keeper: where servers connect to it, when it ends, and how."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence

from .. import __version__
from ..kernel_driver.reaper import start_time
from .holdings import Holdings
from .keeper_folder import KeeperFolder
from .keeper_wire import PROTOCOL
from .served import Served
from .server_connection import ServerConnection
from .service_notice import notify_ready

logger = logging.getLogger(__name__)

ORPHAN_TIMEOUT_S = 86_400.0
"""Seconds without any server after which kernels are ended."""
IDLE_TIMEOUT_S = 60.0
"""Seconds without kernels and servers after which the keeper ends."""
LOOK_S = 1.0
"""Interval between two looks whether that is so."""
BACKLOG = 64


class Keeper:
    """A keeper.

    folder: where servers find it.
    orphan_timeout_s: seconds without a server after which its kernels are ended; 0 for never.
    idle_timeout_s: seconds without kernels and servers after which it ends; 0 for never.
    serve: the command of a server that is run, too; the keeper ends with it then, and not for want of work.
    """

    def __init__(
        self,
        folder: KeeperFolder,
        orphan_timeout_s: float = ORPHAN_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        serve: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._orphan_timeout_s = orphan_timeout_s
        self._idle_timeout_s = 0.0 if serve else idle_timeout_s
        self._uuid = uuid.uuid4().hex
        self._stopped = asyncio.Event()
        self._holdings = Holdings(folder.path)
        self._connections: set[ServerConnection] = set()
        self._served = Served(serve, os.environ, lambda: self._holdings.visited) if serve else None

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Listen until the end has come, and end the kernels then. Returns an exit code: a server's that was run.

        on_ready: called when servers can connect.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)  # never SIG_IGN, which kernels would inherit
        with contextlib.suppress(FileNotFoundError):
            self._folder.socket.unlink()  # of a keeper that is dead: the lock is ours
        mask = os.umask(0o177)
        try:
            server = await loop.create_unix_server(self._connect, str(self._folder.socket), backlog=BACKLOG)
        finally:
            os.umask(mask)
        self._describe()
        on_ready()
        notify_ready(os.environ)
        serving = asyncio.create_task(self._serve(), name="server")
        logger.info("keeper %s of %s, pid %d", self._uuid, __version__, os.getpid())
        try:
            while not self._stopped.is_set() and not self._is_over():
                self._holdings.look_after()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._stopped.wait()
        finally:
            if self._served is not None:
                self._served.stop()
            code = await serving
            server.close()
            self._folder.socket.unlink(missing_ok=True)
            for connection in tuple(self._connections):
                await connection.close("the keeper ends")
            await self._holdings.end_all()
            self._holdings.close()
            self._folder.description.unlink(missing_ok=True)
            logger.info("keeper %s has ended", self._uuid)
        return code

    async def _serve(self) -> int:
        """Run the server, if there is to be one, and end with it."""
        if self._served is None:
            return 0
        try:
            return await self._served.run()
        except OSError:  # kernels are ended all the same
            logger.exception("the server is lost")
            return 1
        finally:
            self.stop()

    def _on_hangup(self) -> None:
        if self._served is not None:
            self._served.restart()

    def stop(self) -> None:
        """End, with all kernels."""
        self._stopped.set()

    def _connect(self) -> ServerConnection:
        self._connections = {one for one in self._connections if one.open}
        connection = ServerConnection(self._holdings, self._uuid, self.stop)
        self._connections.add(connection)
        return connection

    def _is_over(self) -> bool:
        holdings = self._holdings
        if holdings.servers:
            return False
        alone_s = time.monotonic() - holdings.alone_since
        if not len(holdings):
            return 0 < self._idle_timeout_s < alone_s
        if self._orphan_timeout_s and alone_s > self._orphan_timeout_s:
            logger.warning("no server has come for %g s: %d kernels are ended", alone_s, len(holdings))
            return True
        return False

    def _describe(self) -> None:
        description = {
            "uuid": self._uuid,
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "protocol": PROTOCOL,
            "version": __version__,
        }
        draft = self._folder.description.with_suffix(".part")
        draft.write_text(json.dumps(description))
        draft.rename(self._folder.description)
