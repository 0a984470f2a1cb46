"""When a kernel that was just connected to counts as ready, and what is done until then. Pure: the time is passed in.

A kernel does not announce that it is up, and what it says may be lost before both sides are connected. So it is asked
`kernel_info_request`, and counts as ready when the answer has come **and** something has been heard on iopub. Five
facts of ZMQ and of kernels shape what happens until then:

1. **The kernel may not listen yet.** A DEALER socket keeps what it is given until the kernel does, so one question
   would do if no socket were ever reopened (3), which drops what it held. The question is repeated every INTERVAL_S
   until an answer comes.

2. **A kernel that runs a cell does not read shell.** That happens with kernels that others started, or that outlived
   a server. They are asked on control as well, which has a thread of its own. An answer on control alone makes the
   kernel ready, but it is taken to be busy until shell answers, or the kernel publishes a status.

3. **libzmq gives up for good when a ZMTP handshake fails.** That happens when another process, which chose the same
   free port, listens there for a moment before the kernel does. Neither side is told. A DEALER socket in that state
   cannot be written to, which can be seen, so after each wait those sockets are looked at and reopened (`ReopenLost`).
   The last look comes after the answer, because control may be lost while shell works. A SUB socket looks the same
   whether it is connected or not: it is reopened on suspicion, see (4). stdin is a case of its own, see (5).

4. **A subscription takes time to reach the kernel, and a PUB socket drops messages without a subscriber.** The kernel's
   first status may therefore be missed although it has answered, and so would the outputs of the first cell. The
   question is asked again, on shell, until something is heard on iopub: after IOPUB_FIRST_RETRY_S, then after twice
   that, and so on. When a wait longer than IOPUB_REOPEN_AFTER_S was in vain, iopub is reopened, once, so that the new
   subscription has time to arrive. A kernel that answers but stays silent on iopub counts as ready IOPUB_GIVE_UP_S
   after its answer: some publish no status for `kernel_info_request`. That is worth a warning, because the same
   silence means that outputs are lost (a firewall between us and the port, say).

5. **A kernel drops an input_request when our stdin socket has not connected yet.** Nothing is asked on stdin, so no
   answer tells. Its socket can be written to only while it is connected, which can be seen. libzmq tries again after
   a tenth of a second at the latest, and that is waited for; a socket that is still not connected after
   STDIN_REOPEN_AFTER_S has been given up (3) and is reopened. Not sooner: the kernel ignores a second connection with
   the same routing id while the first one lives. After STDIN_GIVE_UP_S the kernel is ready without stdin.

All of it must be over by the deadline. Whoever drives a handshake calls `next` with the time and what was heard so
far, does what the step says, and calls it again:

    Ask(channel)      send a kernel_info_request
    ReopenLost()      reopen the sockets on which libzmq has given up
    Reopen(channel)   reopen this socket
    Wait(seconds)     call again after that time, or earlier when something was heard
    Ready(iopub)      the kernel can be used; no more calls
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..errors import KernelTimeout

STDIN_CHECK_S = 0.01
"""Interval between two looks whether stdin is connected: nothing tells when it is."""
STDIN_REOPEN_AFTER_S = 0.25
"""How long after everything else stdin is reopened, when it is not connected."""
STDIN_GIVE_UP_S = 1.0
"""How long after everything else a kernel counts as ready although stdin is not connected."""
INTERVAL_S = 0.5
"""Interval between two questions until the first answer."""
IOPUB_FIRST_RETRY_S = 0.02
"""First wait for iopub before the question is repeated; doubled each time."""
IOPUB_REOPEN_AFTER_S = 0.1
"""iopub is reopened after the first wait that was longer than this."""
IOPUB_GIVE_UP_S = 2.0
"""How long after its answer a kernel counts as ready although nothing was heard on iopub."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a kernel_info_request on this channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class ReopenLost:
    """Reopen the sockets, other than iopub, on which libzmq has given up."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Reopen the socket of this channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds, or until something is heard."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The kernel can be used. iopub: whether something was heard there."""

    iopub: bool


Step = Ask | ReopenLost | Reopen | Wait | Ready


class Handshake:
    """Decides what to do next until a kernel is ready.

    now: the time at which it begins, in seconds on any clock.
    timeout_s: seconds within which the kernel must be ready.
    ask_control: whether to ask on control as well, for a kernel that may be running a cell.
    """

    def __init__(self, now: float, timeout_s: float, *, ask_control: bool = False) -> None:
        self._now = now
        self._timeout_s = timeout_s
        self._deadline = now + timeout_s
        self._asked = ("shell", "control") if ask_control else ("shell",)
        self._replied = self._published = self._stdin = False
        self._steps = self._run()

    def next(self, now: float, *, replied: bool, published: bool, stdin: bool) -> Step:
        """The next step.

        replied: whether the kernel has answered on any channel.
        published: whether anything was heard on iopub.
        stdin: whether the stdin socket is connected.
        Raises KernelTimeout when the kernel is not ready by the deadline.
        """
        self._now, self._replied, self._published, self._stdin = now, replied, published, stdin
        step = next(self._steps)
        if not isinstance(step, Wait):
            return step
        if now >= self._deadline:
            raise KernelTimeout(f"The kernel did not answer within {self._timeout_s:g} s")
        return Wait(min(step.seconds, self._deadline - now))

    def _run(self) -> Generator[Step, None, None]:
        """The handshake from begin to end; each `yield` is one call of `next`, after which the facts are new."""
        while not self._replied:
            for channel in self._asked:
                yield Ask(channel)
            again = self._now + INTERVAL_S
            while not self._replied and self._now < again:
                yield Wait(again - self._now)
            yield ReopenLost()

        give_up = self._now + IOPUB_GIVE_UP_S
        wait_s = IOPUB_FIRST_RETRY_S
        reopened = False
        while not self._published and self._now < give_up:
            again = min(self._now + wait_s, give_up)
            while not self._published and self._now < again:
                yield Wait(again - self._now)
            if self._published or self._now >= give_up:
                break
            if wait_s > IOPUB_REOPEN_AFTER_S and not reopened:
                reopened = True
                yield Reopen("iopub")
            yield Ask("shell")
            wait_s *= 2

        begin = self._now
        reopened = False
        while not self._stdin and self._now < begin + STDIN_GIVE_UP_S:
            if self._now >= begin + STDIN_REOPEN_AFTER_S and not reopened:
                reopened = True
                yield Reopen("stdin")
            yield Wait(STDIN_CHECK_S)
        yield Ready(iopub=self._published)
