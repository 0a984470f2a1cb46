"""A keeper: where servers connect to it, when it ends, and how."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..kernel_driver.reaper import start_time
from .handover import State, inherit, write
from .holdings import Holdings
from .keeper_calls import Answer, Arguments, Caller, field
from .keeper_folder import KeeperFolder
from .keeper_wire import PROTOCOL, common_protocol
from .last_words import LastWords
from .replacement import LINGER_MS, CannotReplace, Handshakes, calm, check_program, settle, thaw
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
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def listen(path: Path) -> socket.socket:
    """A socket at a path, in the place of that of a keeper that is dead: the lock is ours."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(mask)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _socket_of(descriptor: int) -> socket.socket:
    """A socket of the program before."""
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


class Keeper:
    """A keeper.

    folder: where servers find it.
    orphan_timeout_s: seconds without a server after which its kernels are ended; 0 for never.
    idle_timeout_s: seconds without kernels and servers after which it ends; 0 for never.
    serve: the command of a server that is run, too; the keeper ends with it then, and not for want of work.
    lock: the descriptor by which the folder is locked.
    """

    def __init__(
        self,
        folder: KeeperFolder,
        orphan_timeout_s: float = ORPHAN_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        serve: Sequence[str] = (),
        lock: int = -1,
    ) -> None:
        self._folder = folder
        self._orphan_timeout_s = orphan_timeout_s
        self._idle_timeout_s = 0.0 if serve else idle_timeout_s
        self._uuid = uuid.uuid4().hex
        self._stopped = asyncio.Event()
        self._holdings = Holdings(folder.path)
        self._last_words = LastWords()
        self._connections: set[ServerConnection] = set()
        self._lock = lock
        self._listening: socket.socket | None = None
        self._replacing = False
        self._serve_command = list(serve)
        self._options = {
            "dir": str(folder.path),
            "orphan-timeout-s": str(orphan_timeout_s),
            "idle-timeout-s": str(idle_timeout_s),
        }
        self._served = Served(serve, os.environ, lambda: self._holdings.visited) if serve else None

    async def run(self, on_ready: Callable[[], None], left: State | None = None) -> int:
        """Listen until the end has come, and end the kernels then. Returns an exit code: a server's that was run.

        on_ready: called when servers can connect.
        left: what the program before has left, whose place this one has taken.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)  # never SIG_IGN, which kernels would inherit
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if left is None:
            self._listening = listening = listen(self._folder.socket)
        else:
            self._listening = listening = _socket_of(left["listening"])
            await self._resume(left)
        self._last_words.listen(listen(self._folder.clients))
        server = await loop.create_unix_server(self._connect, sock=listening, backlog=BACKLOG)
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
            for path in (self._folder.socket, self._folder.clients):
                path.unlink(missing_ok=True)
            await self._last_words.close()
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
        connection = ServerConnection(self._holdings, self._uuid, self)
        self._connections.add(connection)
        return connection

    async def replace(self, caller: Caller, arguments: Arguments) -> Answer:
        """Have another program take the place of this one, see replacement.py. Raises CannotReplace."""
        if self._replacing:
            raise CannotReplace("The keeper is being replaced already")
        self._replacing = True
        try:
            python, wait_s = field(arguments, "python", str), field(arguments, "wait_s", int)
            busy: list[str] = []
            await asyncio.to_thread(check_program, python)
            if field(arguments, "now", bool, False):
                busy = await settle(self._holdings, lambda: self._connections, wait_s=wait_s)
            else:

                def is_wanted() -> bool:
                    return caller.open and not self._stopped.is_set()

                await calm(self._holdings, lambda: self._connections, is_wanted, wait_s=wait_s)
            try:
                self._give_way(python, busy, caller, arguments.get("id"))
            finally:
                thaw(self._connections)
        finally:
            self._replacing = False

    def _give_way(self, python: str, busy: list[str], caller: Caller, number: object) -> NoReturn:
        """Become another program. Raises CannotReplace when that cannot be; nothing is changed then."""
        if not os.access(python, os.X_OK) or self._listening is None or self._stopped.is_set():
            raise CannotReplace(f"{python} cannot be run any more")
        logger.info("%s takes over", python)
        connections = []
        for one in self._connections:
            if (state := one.state()) is not None:
                connections.append({**state, "answer": number if one is caller else None})
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the next program handles them
        try:  # from here on there is no way back
            left = {
                "uuid": self._uuid,
                "lock": self._lock,
                "listening": self._listening.fileno(),
                "served": self._served.pid if self._served is not None else None,
                "busy": busy,
                "holdings": self._holdings.leave(LINGER_MS),
                "connections": connections,
            }
            descriptor = write(left)
            inherit([descriptor, self._lock, self._listening.fileno(), *(one["descriptor"] for one in connections)])
            options = [f"--{name}={value}" for name, value in self._options.items()]
            serve = ["--serve", *self._serve_command] if self._serve_command else []
            os.execv(python, [python, "-P", "-m", "fps_kernels.keeper", *options, f"--resume={descriptor}", *serve])
        except BaseException:
            logger.exception("the keeper is lost; the next one watches over its kernels")
            os._exit(1)

    async def _resume(self, left: State) -> None:
        """Go on where the program before has stopped."""
        self._uuid = left["uuid"]
        if self._served is not None:
            self._served.pid = left["served"]
        handshakes = Handshakes()
        self._holdings.resume(left["holdings"], handshakes.watch)
        await handshakes.done()
        for one in left["connections"]:
            sock = _socket_of(one["descriptor"])
            if common_protocol(one["protocol"], None) is None:
                sock.close()
                continue
            make = partial(ServerConnection, self._holdings, self._uuid, self, one)
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(make, sock)
            self._connections.add(connection)
            connection.go_on()
            connection.tell_all_taken()
            if one["answer"] is not None:
                connection.tell({"event": "answer", "id": one["answer"], "version": __version__})
        for kernel_id in left["busy"]:
            holder = self._holdings.find(kernel_id)
            holder.tell("gap", messages=None, **{"from": holder.record.next_seq})

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
