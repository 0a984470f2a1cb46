"""The first process of a container: it hands signals on to the server, and reaps orphans.

A process whose parent has ended becomes a child of process 1, which has to wait for it, or it stays as a zombie and
keeps its number. A server cannot do that by itself, as it would take the exit status of processes that others in it
wait for, such as terminals. So where there is no other init, the server is a child of a process that does nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable

from .own_memory import close_memory

SI_KERNEL = 128
"""The code of a signal that a terminal has sent, to all processes in the foreground: the server has got it, too."""
OF_A_TERMINAL = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH")
FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")
"""Signals that tell of a fault of this process itself."""


def leave_init_behind() -> None:
    """As process 1, go on as its child; returns at once in any other. To be called before there is any thread."""
    if os.getpid() != 1 or not hasattr(signal, "sigwaitinfo"):
        return
    handed_on = {one for one in signal.valid_signals() if getattr(one, "name", "") not in FAULTS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handed_on)
    sys.stdout.flush()
    sys.stderr.flush()
    server = os.fork()
    if not server:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if os.environ.get("LISTEN_PID") == "1":  # sockets that were given to this process, see given_sockets.py
            os.environ["LISTEN_PID"] = str(os.getpid())
        return
    close_memory()  # it has the server's environment
    os._exit(_serve_as_init(server, handed_on))


def _serve_as_init(server: int, handed_on: Iterable[int]) -> int:
    """Returns the server's exit code when it has ended."""
    of_a_terminal = {getattr(signal, name) for name in OF_A_TERMINAL}
    while True:
        info = signal.sigwaitinfo(handed_on)
        signum = info.si_signo
        if signum == signal.SIGCHLD:
            if (status := _reap(server)) is not None:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif info.si_code != SI_KERNEL or signum not in of_a_terminal:
            os.kill(server, signum)


def _reap(server: int) -> int | None:
    """Wait for all children that have ended; returns the server's exit status if it is one of them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == server:
            found = status
