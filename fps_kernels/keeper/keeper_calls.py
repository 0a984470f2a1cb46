"""What a server can ask of a keeper: one function for each call.

A function gets the connection of the server that calls and what the call has, and returns what is answered. All but
`run` are done at once, so that they are in order with the messages that come before and after them. Unknown fields are
ignored, so that a server may say more than this keeper understands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..kernel_driver.connection_file import ConnectionInfo
from .holder import Holder
from .holdings import BadCall, Holdings
from .record import RecordBounds

Arguments = dict[str, Any]
Answer = dict[str, Any]


class Control(Protocol):
    """What can be done to the keeper itself."""

    def stop(self) -> None:
        """End it, with all kernels."""

    async def replace(self, caller: Caller, arguments: Arguments) -> Answer:
        """Have another program take its place; the answer is that one's. Raises CannotReplace."""


class Caller(Protocol):
    """The connection of the server that calls."""

    holdings: Holdings
    keeper: Control

    @property
    def open(self) -> bool:
        """Whether the connection is there."""

    def attach(self, holder: Holder, seq: int) -> None:
        """Tell the server what passes from the number `seq` on, after the answer that is being made."""


def field(arguments: Arguments, name: str, kind: type, default: Any = ...) -> Any:
    """A field of a call. Raises BadCall when it is missing or of another type."""
    value = arguments.get(name, default)
    if value is ... or (not isinstance(value, kind) and value is not default) or (kind is int and value is True):
        raise BadCall(f"{name} of the call {str(arguments.get('do'))[:100]} is missing or wrong")
    return value


def find(caller: Caller, arguments: Arguments) -> Holder:
    """The kernel that a call is about; of the process that it names, if it does. Raises NotHeld, StaleGeneration."""
    holder = caller.holdings.find(field(arguments, "kernel", str))
    if "generation" in arguments:
        holder.check(field(arguments, "generation", int))
    return holder


def strings(arguments: Arguments, name: str) -> list[str]:
    """A field that is a list of strings. Raises BadCall."""
    values = field(arguments, name, list, None) or []
    if not all(isinstance(value, str) for value in values):
        raise BadCall(f"{name} must be strings")
    return values


def kernels(caller: Caller, arguments: Arguments) -> Answer:
    """All kernels."""
    return {"kernels": [holder.summary() for holder in caller.holdings]}


async def run(caller: Caller, arguments: Arguments) -> Answer:
    """Launch a process of a kernel: `argv`, `env`, `cwd`, and `files` that go when the keeper ends it."""
    env = field(arguments, "env", dict)
    argv = strings(arguments, "argv")
    if not argv or not all(isinstance(value, str) for value in env.values()):
        raise BadCall("argv and env must be strings")
    cwd = field(arguments, "cwd", str, None)
    holdings = caller.holdings
    holder = holdings.make(field(arguments, "kernel", str), bounds_of(arguments))
    if holder.running:
        raise BadCall("its process runs")
    try:
        stderr_path = holdings.stderr_path(holder.kernel_id)
        await holder.run(holdings.next_generation(), argv, env, cwd, stderr_path, strings(arguments, "files"))
    except (OSError, ValueError):
        if not holder.generation:
            holdings.forget(holder)
        raise
    if holdings.by_handle(holder.handle) is not holder:  # it was forgotten meanwhile
        await holder.end(0.0)
    caller.attach(holder, holder.record.next_seq)
    return holder.summary()


def bounds_of(arguments: Arguments) -> RecordBounds:
    """The bounds of the record that a call wants."""
    default = RecordBounds()
    found = field(arguments, "bounds", dict, None) or {}
    return RecordBounds(
        field(found, "max_messages", int, default.max_messages), field(found, "max_bytes", int, default.max_bytes)
    )


def adopt(caller: Caller, arguments: Arguments) -> Answer:
    """Watch over a process of a keeper that has died: `pid`, `start_time`; the record begins with `next_seq`."""
    holdings = caller.holdings
    next_seq = max(0, field(arguments, "next_seq", int, 0))
    holder = holdings.make(field(arguments, "kernel", str), bounds_of(arguments), next_seq)
    if holder.generation:
        if holder.child is None or holder.child.pid != field(arguments, "pid", int):
            raise BadCall("another process of it is held already")
        caller.attach(holder, holder.record.next_seq)
        return holder.summary()
    generation = max(1, field(arguments, "of_generation", int, 1))
    holdings.note_generation(generation)
    try:
        pid, began = field(arguments, "pid", int), field(arguments, "start_time", str)
        holder.adopt(pid, began, generation, strings(arguments, "files"))
    except BaseException:
        holdings.forget(holder)
        raise
    caller.attach(holder, holder.record.next_seq)
    return holder.summary()


def hold(caller: Caller, arguments: Arguments) -> Answer:
    """Connect to a process: `info` as in its connection file, `identity`. The caller is attached from now on."""
    holder = find(caller, arguments)
    info = field(arguments, "info", dict)
    ConnectionInfo.from_dict(info)
    caller.attach(holder, holder.record.next_seq)
    holder.connect(info, field(arguments, "identity", str).encode())
    return holder.summary()


def attach(caller: Caller, arguments: Arguments) -> Answer:
    """Be told what passes, from the number `from` on; from now on without it."""
    holder = find(caller, arguments)
    answer = holder.summary()
    caller.attach(holder, field(arguments, "from", int, holder.record.next_seq))
    return answer


def let_go(caller: Caller, arguments: Arguments) -> Answer:
    """Close the connections to a process, which goes on."""
    find(caller, arguments).let_go()
    return {}


def reopen(caller: Caller, arguments: Arguments) -> Answer:
    """Reconnect a `channel`, or without one those that libzmq has given up."""
    holder = find(caller, arguments)
    channel = field(arguments, "channel", str, None)
    if channel is None:
        holder.reopen_lost()
    else:
        holder.reopen(channel)
    return {}


def signal(caller: Caller, arguments: Arguments) -> Answer:
    """Send a signal to the process group of a process, if that runs."""
    holder = find(caller, arguments)
    signum = field(arguments, "signum", int)
    if not 0 < signum < 65:
        raise BadCall("signum is no signal")
    return {"sent": holder.child is not None and holder.child.signal(signum)}


def seen(caller: Caller, arguments: Arguments) -> Answer:
    """Nothing that comes before the number `seq` is needed any more."""
    find(caller, arguments).forget_before(field(arguments, "seq", int))
    return {}


def facts(caller: Caller, arguments: Arguments) -> Answer:
    """Keep what is known of a kernel beside what is kept already; None takes something away."""
    holder = find(caller, arguments)
    merged = {**holder.facts, **field(arguments, "facts", dict)}
    holder.facts = {name: value for name, value in merged.items() if value is not None}
    return {}


def rename(caller: Caller, arguments: Arguments) -> Answer:
    """Make the process of a kernel that of another one, `to`, with other `files`; one that `to` had must have ended."""
    holder = find(caller, arguments)
    files = strings(arguments, "files")
    other = caller.holdings.rename(holder, field(arguments, "to", str))
    other.files = files
    if other is not holder:
        caller.attach(other, other.record.next_seq)
    return other.summary()


def exited_seen(caller: Caller, arguments: Arguments) -> Answer:
    """The end of a process has been dealt with: its exit status and its unanswered requests."""
    find(caller, arguments).on_exit_seen()
    return {}


def forget(caller: Caller, arguments: Arguments) -> Answer:
    """Hold a kernel no longer. Its process is ended if it runs."""
    caller.holdings.forget(find(caller, arguments))
    return {}


def stop(caller: Caller, arguments: Arguments) -> Answer:
    """End the keeper, and its kernels with it."""
    caller.keeper.stop()
    return {}


async def restart(caller: Caller, arguments: Arguments) -> Answer:
    """Have the program of the interpreter `python` take the place of this one, when all kernels have been idle.

    `wait_s`: seconds in which they must be. `now`: whether those that are busy are not waited for.
    Answered with the `version` that runs then.
    """
    return await caller.keeper.replace(caller, arguments)


CALLS: dict[str, Callable[[Caller, Arguments], Answer | Awaitable[Answer]]] = {
    function.__name__: function
    for function in (
        adopt,
        attach,
        exited_seen,
        facts,
        forget,
        hold,
        kernels,
        let_go,
        rename,
        reopen,
        restart,
        run,
        seen,
        signal,
        stop,
    )
}
"""The calls by their names; `hello` comes before them, see server_caller.py."""
