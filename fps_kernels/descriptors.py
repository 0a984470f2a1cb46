"""Watches file descriptors, also on event loops that cannot: `add_reader` is optional for a loop.

Windows' and Qt's loops raise NotImplementedError. There, a thread polls the descriptors, and hands what it finds to the
loop; it lives as long as anything is watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import select
import socket
import threading
from collections.abc import Callable
from functools import partial

logger = logging.getLogger(__name__)

DESCRIPTORS = 21
"""Descriptors that must be free for the launch of a kernel. It takes ten, and five more until it listens; with fewer,
it would be connected only in part."""

Callback = Callable[[], object]

_pollers: dict[asyncio.AbstractEventLoop, _Poller] = {}
"""The threads, by the loop that each works for, as long as they watch anything."""


def add_reader(loop: asyncio.AbstractEventLoop, fd: int, callback: Callable[..., object], *args: object) -> None:
    """As `loop.add_reader`."""
    try:
        loop.add_reader(fd, callback, *args)
    except NotImplementedError:
        _poller(loop).watch(fd, partial(callback, *args), write=False)


def remove_reader(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """As `loop.remove_reader`."""
    poller = _pollers.get(loop)
    if poller is None or not poller.forget(fd, write=False):
        with contextlib.suppress(NotImplementedError):  # nothing is watched there
            loop.remove_reader(fd)


def add_writer(loop: asyncio.AbstractEventLoop, fd: int, callback: Callable[..., object], *args: object) -> None:
    """As `loop.add_writer`."""
    try:
        loop.add_writer(fd, callback, *args)
    except NotImplementedError:
        _poller(loop).watch(fd, partial(callback, *args), write=True)


def remove_writer(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """As `loop.remove_writer`."""
    poller = _pollers.get(loop)
    if poller is None or not poller.forget(fd, write=True):
        with contextlib.suppress(NotImplementedError):  # nothing is watched there
            loop.remove_writer(fd)


def _poller(loop: asyncio.AbstractEventLoop) -> _Poller:
    if loop not in _pollers:
        _pollers[loop] = _Poller(loop)
    return _pollers[loop]


def need_descriptors(number: int) -> None:
    """Raise OSError when this process may not open so many more descriptors."""
    opened = list(os.pipe())
    try:
        while len(opened) < number:
            opened.append(os.dup(opened[0]))
    finally:
        for fd in opened:
            os.close(fd)


class _Poller:
    """A thread that polls descriptors for a loop.

    It polls what it is given and hands over what is ready; it is given what to poll next when the loop has run the
    callbacks, which read what was ready. All methods but `_run` are for the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._next: queue.SimpleQueue[dict[int, int] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="descriptors", daemon=True).start()
        self._next.put({})

    def watch(self, fd: int, callback: Callback, *, write: bool) -> None:
        """Call `callback` on the loop whenever `fd` can be read, or be written to."""
        (self._writers if write else self._readers)[fd] = callback
        self._poll_anew()

    def forget(self, fd: int, *, write: bool) -> bool:
        """Watch no longer; returns whether it was watched."""
        found = (self._writers if write else self._readers).pop(fd, None) is not None
        if found:
            if not self._readers and not self._writers:
                del _pollers[self._loop]
            self._poll_anew()
        return found

    def _poll_anew(self) -> None:
        """Have the thread look at what is wanted now."""
        with contextlib.suppress(BlockingIOError):  # it has not seen that it was woken
            self._wake.send(b"x")

    def _wanted(self) -> dict[int, int] | None:
        """What to poll for, by descriptor; None when that is over."""
        if _pollers.get(self._loop) is not self:
            return None
        wanted = dict.fromkeys(self._readers, select.POLLIN)
        for fd in self._writers:
            wanted[fd] = wanted.get(fd, 0) | select.POLLOUT
        return wanted

    def _run(self) -> None:
        with self._wake, self._woken:
            while (wanted := self._next.get()) is not None:
                poll = select.poll()
                for fd, events in {**wanted, self._woken.fileno(): select.POLLIN}.items():
                    poll.register(fd, events)
                ready = dict(poll.poll())
                if ready.pop(self._woken.fileno(), None):
                    self._woken.recv(4096)
                try:
                    self._loop.call_soon_threadsafe(self._hand_over, ready)
                except RuntimeError:  # the loop is closed
                    return

    def _hand_over(self, ready: dict[int, int]) -> None:
        try:
            for fd, events in ready.items():
                if events & ~select.POLLOUT and (read := self._readers.get(fd)) is not None:
                    read()
                if events & ~select.POLLIN and (write := self._writers.get(fd)) is not None:
                    write()
        finally:  # what an error has kept from its turn is found again
            self._next.put(self._wanted())


def open_pidfd(pid: int) -> int | None:
    """A descriptor that tells the end of a process; None where it has to be polled instead."""
    pidfd_open = getattr(os, "pidfd_open", None)  # Linux; not in a Python that was built where there was none
    if pidfd_open is None:
        return None
    try:
        fd: int = pidfd_open(pid)
    except OSError as exc:  # an old kernel, a filter of system calls, or no descriptor left
        logger.debug("no pidfd (%s): polling process %d", exc.strerror, pid)
        return None
    return fd
