"""What a record of the log is about beside its message: the request, its user, its kernel.

Whatever is logged while a request lasts has its id, in tasks that it has started, too. What they log later has not: a
kernel that dies after an hour does so for another reason than the request that has started it.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from functools import lru_cache

NAMES_KERNEL = re.compile(r"kernel %s(?: \(%s\))?")
"""How messages of this package name a kernel, and its kernelspec."""


class LogContext:
    """What is known of a request.

    trace_parent: the trace that it is part of, as in the header `traceparent`.
    over: whether it has ended.
    """

    __slots__ = ("kernel_id", "over", "request_id", "session_id", "trace_parent", "user")

    def __init__(self, request_id: str, kernel_id: str = "", session_id: str = "") -> None:
        self.request_id = request_id
        self.kernel_id = kernel_id
        self.session_id = session_id
        self.trace_parent = ""
        self.user = ""
        self.over = False

    def end(self, task: object) -> None:
        """The task of the request has ended."""
        self.over = True


_current: ContextVar[LogContext | None] = ContextVar("request", default=None)


def enter(context: LogContext) -> None:
    """Begin to deal with a request, in a task of its own, at whose end `context.end` is to be called."""
    _current.set(context)


def current() -> LogContext | None:
    """What is known of the request that is being dealt with; None outside of one."""
    context = _current.get()
    return None if context is None or context.over else context


def request_fields() -> dict[str, str]:
    """The fields of records that are the doing of the request that is being dealt with, also when it has ended."""
    context = current()
    fields = {} if context is None else {"request_id": context.request_id, "user": context.user}
    return {name: value for name, value in fields.items() if value}


def note_user(name: str) -> None:
    """The user of the request that is being dealt with."""
    if (context := _current.get()) is not None:
        context.user = name


class ContextFilter(logging.Filter):
    """Gives records what they are about, if that is known: request_id, user, session_id, kernel_id, kernelspec."""

    def filter(self, record: logging.LogRecord) -> bool:
        about = _about(record) if record.name.startswith("fps_kernels") else {}
        if (context := current()) is not None:
            about.setdefault("kernel_id", context.kernel_id)
            about |= {"request_id": context.request_id, "user": context.user, "session_id": context.session_id}
        for name, value in about.items():
            if value and not hasattr(record, name):
                setattr(record, name, value)
        return True


def _about(record: logging.LogRecord) -> dict[str, str]:
    """The kernel that a message is about, and its kernelspec, by how messages name them."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return {}
    kernel, spec = _places(record.msg)
    args = record.args
    about = {}
    if kernel is not None and kernel < len(args):
        about["kernel_id"] = str(args[kernel])
    if spec is not None and spec < len(args):
        about["kernelspec"] = str(args[spec])
    return about


@lru_cache(maxsize=512)
def _places(message: str) -> tuple[int | None, int | None]:
    """The numbers of the arguments of a message that are a kernel and its kernelspec."""
    found = NAMES_KERNEL.search(message)
    if found is None:
        return None, None
    number = message[: found.start()].replace("%%", "").count("%")
    return number, (number + 1 if "(" in found[0] else None)
