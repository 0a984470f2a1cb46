"""The server that a keeper runs, as in a container: a child of it, which is started again when it fails.

Its end is no reason for the kernels to end, as they are the keeper's. It is, though, when it ends as somebody asked
(with exit code 0), or when it has never been more than a complaint about its options.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger(__name__)

RETRY_S, RETRY_MAX_S = 0.5, 30.0
"""Seconds before a server that has failed is started again; doubled each time."""
CALM_S = 60.0
"""Seconds after which one that runs counts as well, so that the next failure is the first again."""
RESTART_GRACE_S = 30.0
"""Seconds that it has to end for the next one: open requests have half of that."""
STOP_GRACE_S = 5.0
"""The same before the keeper ends. Containers have 10 seconds by default, of which kernels need some."""
NOT_FOUND = 127
"""What a shell says of a command that cannot be run."""
WITH_OWN_PID = 'LISTEN_PID=$$ exec "$@"'
"""Hands sockets on that were given to this process, see given_sockets.py."""


class Served:
    """A server's process.

    command, environ: what it is started with; stdout and stderr are the keeper's.
    has_come: tells whether a server has ever connected to the keeper.
    pid: the process, if it runs already.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        has_come: Callable[[], bool],
        pid: int | None = None,
    ) -> None:
        self.pid = pid
        self._command = command
        self._environ = environ
        self._has_come = has_come
        self._stopping = False
        self._restarting = False
        self._called = asyncio.Event()  # to end, or to start without waiting
        self._killing: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Run it until it need not be started again; returns its exit code as a shell has it, 0 after `stop`."""
        wait_s = RETRY_S
        while not self._stopping:
            began = time.monotonic()
            code = await self._outcome()
            if self._stopping:
                break
            if not self._restarting and (code == 0 or not self._has_come()):
                return code if code >= 0 else 128 - code
            if time.monotonic() - began > CALM_S:
                wait_s = RETRY_S
            if not self._restarting:
                logger.warning("the server has ended (%d), and is started again in %g s", code, wait_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._called.wait()
                wait_s = min(2 * wait_s, RETRY_MAX_S)
            self._restarting = False
            self._called.clear()
        return 0

    async def _outcome(self) -> int:
        """Start the server, unless it runs, and wait for its end; returns its exit status, negative for a signal."""
        if self.pid is None:
            try:
                self.pid = self._launch()
            except OSError as exc:
                logger.error("%s: %s", self._command[0], exc.strerror)
                return NOT_FOUND
        _, status = await asyncio.to_thread(os.waitpid, self.pid, 0)
        self.pid = None
        if self._killing is not None:
            self._killing.cancel()
        return os.waitstatus_to_exitcode(status)

    def _launch(self) -> int:
        command, environ = list(self._command), dict(self._environ)
        if environ.get("LISTEN_PID") == str(os.getpid()):
            command = ["/bin/sh", "-c", WITH_OWN_PID, "sh", *command]
        pid = os.posix_spawnp(
            command[0],
            command,
            environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,  # Ctrl-C is for the keeper
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )
        logger.info("the server is process %d", pid)
        return pid

    def restart(self) -> None:
        """End it, in bounded time, and start the next one; one that waits for that is started now."""
        logger.info("the server is started anew")
        self._restarting = True
        self._called.set()
        self._end(RESTART_GRACE_S)

    def stop(self) -> None:
        """End it, in bounded time: `run` returns then. May be called twice."""
        self._stopping = True
        self._called.set()
        self._end(STOP_GRACE_S)

    def _end(self, grace_s: float) -> None:
        if self.pid is None:
            return
        self._signal(signal.SIGTERM)
        if self._killing is not None:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(grace_s, self._signal, signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # waited for, which is not noticed yet
                os.kill(self.pid, signum)
