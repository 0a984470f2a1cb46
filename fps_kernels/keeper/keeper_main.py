"""The keeper's process: from its command line to its end.

It lives as long as it has kernels, or a server is there. Whoever holds the lock of the state folder is the keeper; one
that finds it locked ends at once, as there is one already.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import logging.handlers
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..kernel_driver.reaper import start_time
from .holdings import Holdings
from .keeper_folder import BadKeeperFolder, KeeperFolder
from .keeper_wire import PROTOCOL
from .server_connection import ServerConnection
from .service_notice import notify_ready

logger = logging.getLogger(__name__)

ORPHAN_TIMEOUT_S = 86_400.0
"""Seconds without any server after which kernels are ended."""
IDLE_TIMEOUT_S = 60.0
"""Seconds without kernels and servers after which the keeper ends."""
LOOK_S = 1.0
"""Interval between two looks whether that is so."""
MAX_LOG_BYTES = 5 * 1024 * 1024
BACKLOG = 64
LOCKED = 3
"""The exit code of one that found another keeper."""


class Keeper:
    """A keeper.

    folder: where servers find it.
    orphan_timeout_s: seconds without a server after which its kernels are ended; 0 for never.
    idle_timeout_s: seconds without kernels and servers after which it ends; 0 for never.
    """

    def __init__(
        self, folder: KeeperFolder, orphan_timeout_s: float = ORPHAN_TIMEOUT_S, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        self._folder = folder
        self._orphan_timeout_s = orphan_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._uuid = uuid.uuid4().hex
        self._stopped = asyncio.Event()
        self._holdings = Holdings(folder.path)
        self._connections: set[ServerConnection] = set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Listen until the end has come, and end the kernels then.

        on_ready: called when servers can connect.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # not SIG_IGN, which kernels would inherit
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
        logger.info("keeper %s of %s, pid %d", self._uuid, __version__, os.getpid())
        try:
            while not self._stopped.is_set() and not self._is_over():
                self._holdings.look_after()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._stopped.wait()
        finally:
            server.close()
            self._folder.socket.unlink(missing_ok=True)
            for connection in tuple(self._connections):
                await connection.close("the keeper ends")
            await self._holdings.end_all()
            self._holdings.close()
            self._folder.description.unlink(missing_ok=True)
            logger.info("keeper %s has ended", self._uuid)

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


def lock(folder: KeeperFolder) -> int | None:
    """Take the lock of a state folder; returns its descriptor, None if somebody has it."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="fps-kernels keeper", description="Keeps kernels beyond the end of a server.")
    parser.add_argument("--dir", type=Path, required=True, help="the state folder")
    parser.add_argument("--orphan-timeout-s", type=float, default=ORPHAN_TIMEOUT_S, help="0: never")
    parser.add_argument("--idle-timeout-s", type=float, default=IDLE_TIMEOUT_S, help="0: never")
    parser.add_argument("--detach", action="store_true", help="go on as a process of its own, once servers can connect")
    options = parser.parse_args(argv)
    folder = KeeperFolder(options.dir.absolute())
    try:
        folder.prepare()
    except BadKeeperFolder as exc:
        print(exc.message, file=sys.stderr)
        return 1
    descriptor = lock(folder)
    if descriptor is None:
        return LOCKED
    os.chdir(folder.path)  # no other folder is kept from being unmounted
    on_ready = detach() if options.detach else lambda: None
    set_up_log(folder.log)
    gc.collect()
    gc.freeze()

    async def run() -> None:
        await Keeper(folder, options.orphan_timeout_s, options.idle_timeout_s).run(on_ready)

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run())
    except Exception:
        logger.exception("the keeper failed")
        return 1
    finally:
        os.close(descriptor)
    return 0


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop, where that is installed, as with servers of ours; None for asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def set_up_log(path: Path) -> None:
    """Have what is logged written to a file, which is replaced when it is too large."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def detach() -> Callable[[], None]:
    """Go on in a new process; returns what is to be called when it is ready, and lets the old one end."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)

    def on_ready() -> None:
        os.write(writing, b"1")
        os.close(writing)

    return on_ready
