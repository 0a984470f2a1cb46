"""How another program takes the place of a keeper, in the same process.

Theory of operation
===================

`execv` keeps what belongs to the process: its number, its children and their exit statuses, the lock of the state
folder, the socket on which it listens, and the connections of servers. So servers notice nothing but a pause, and what
they write meanwhile waits in the system. All the rest is written down (handover.py) and read by the next program.

The ZMQ sockets end. What a kernel says before the next program has subscribed is lost, so that is done when all kernels
are idle: no request lacks its answer, and for QUIET_S nothing was said. The idle status comes right after the answer.
Then, in this order:

1. Nothing is read from servers any more, and what they were told is the system's.
2. What has arrived from kernels is put into the record; what is to be sent to them is sent.
3. `execv`.
4. The next program connects to the kernels, and waits until ZMQ's handshakes are over, and the subscriptions made.
5. It goes on with the connections of servers.

Without waiting for busy kernels, servers are told of a gap for each of them. A kernel answers where the question came
from, so those are connected to with the same routing id, which ipykernel hands over; from others the answer is lost.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Collection
from typing import Protocol

import zmq

from ..errors import FPSKernelsError
from .handover import FORMAT
from .holdings import Holdings

CHECK_TIMEOUT_S = 20.0
"""Seconds in which the next program says whether it can take over."""
QUIET_S = 0.3
"""Seconds for which an idle kernel has said nothing."""
FLUSH_S = 2.0
"""Seconds in which a server reads what it was told; the connection of another one is ended, and comes back."""
FLUSH_LOOK_S = 0.005
LINGER_MS = 1_000
"""How long libzmq may send what it has."""
HANDSHAKE_S = 2.0
"""Seconds for which kernels are waited for. One that hangs does not matter: libzmq does that by itself."""
SETTLE_S = 0.1
"""Seconds after that: a subscription is sent right after the handshake, and has to be read by the kernel."""


class CannotReplace(FPSKernelsError):
    """Another program cannot take the keeper's place, now; the message says why."""

    status = 409


class Frozen(Protocol):
    """The connection of a server."""

    @property
    def open(self) -> bool: ...
    @property
    def launching(self) -> bool: ...
    @property
    def waiting_bytes(self) -> int: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def drop(self) -> None: ...


def check_program(python: str) -> None:
    """Raise CannotReplace if the keeper that an interpreter has cannot take over. Blocks."""
    command = [python, "-P", "-m", "fps_kernels.keeper", "--can-resume", str(FORMAT)]
    try:
        code = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_S
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CannotReplace(f"The keeper of {python} cannot be run: {exc}") from exc
    if code:
        raise CannotReplace(f"The keeper of {python} cannot take over from this version")


async def calm(
    holdings: Holdings, connections: Callable[[], Collection[Frozen]], is_wanted: Callable[[], bool], *, wait_s: float
) -> None:
    """Return when all kernels are idle, and all connections are frozen.

    is_wanted: tells whether somebody still waits for it. Raises CannotReplace after `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    while True:
        before = _numbers(holdings)
        busy = await busy_kernels(holdings)
        if not busy and not _is_working(holdings, connections()):
            if await freeze(connections()) and before == _numbers(holdings) and not any(one.busy for one in holdings):
                return
            thaw(connections())
        if not is_wanted():
            raise CannotReplace("Nobody waits for it any more")
        if time.monotonic() > deadline:
            names = ", ".join(busy) or "one is being started or ended"
            raise CannotReplace(f"Not all kernels were idle within {wait_s:g} s: {names}")


async def settle(holdings: Holdings, connections: Callable[[], Collection[Frozen]], *, wait_s: float) -> list[str]:
    """As `calm`, but kernels that are busy are not waited for: they are returned."""
    deadline = time.monotonic() + wait_s
    while True:
        busy = await busy_kernels(holdings)
        if not _is_working(holdings, connections()):
            await freeze(connections())
            return busy
        if time.monotonic() > deadline:
            raise CannotReplace("A kernel is being started or ended")


async def busy_kernels(holdings: Holdings) -> list[str]:
    """The kernels that have requests without answers, or say something within QUIET_S."""
    before = _numbers(holdings)
    await asyncio.sleep(QUIET_S)
    return [one.kernel_id for one in holdings if one.busy or before.get(one.kernel_id) != one.record.next_seq]


def _numbers(holdings: Holdings) -> dict[str, int]:
    return {holder.kernel_id: holder.record.next_seq for holder in holdings}


def _is_working(holdings: Holdings, connections: Collection[Frozen]) -> bool:
    return holdings.ending or any(one.launching for one in holdings) or any(one.launching for one in connections)


async def freeze(connections: Collection[Frozen]) -> bool:
    """Read nothing from servers, and have what was written to them read; whether none of them was dropped for that."""
    for one in connections:
        one.freeze()
    deadline = time.monotonic() + FLUSH_S
    while any(one.waiting_bytes for one in connections) and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
        await asyncio.sleep(FLUSH_LOOK_S)
    slow = [one for one in connections if one.waiting_bytes]
    for one in slow:
        one.drop()
    return not slow


def thaw(connections: Collection[Frozen]) -> None:
    """Undo `freeze`."""
    for one in connections:
        one.thaw()


class Handshakes:
    """Tells when sockets that are being connected have shaken hands."""

    def __init__(self) -> None:
        self._monitors: list[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = []

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """To be called before the socket connects."""
        self._monitors.append((socket, socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)))

    async def done(self) -> None:
        """Return when all have, or do not within HANDSHAKE_S."""
        deadline = time.monotonic() + HANDSHAKE_S
        waiting = [monitor for _, monitor in self._monitors]
        while (waiting := [one for one in waiting if not one.poll(0)]) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(FLUSH_LOOK_S)
        for socket, _ in self._monitors:
            if not socket.closed:
                socket.disable_monitor()
        if self._monitors:
            await asyncio.sleep(SETTLE_S)
        self._monitors.clear()
