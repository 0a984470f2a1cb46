"""Messages that the server makes in a kernel's place. Pure."""

from __future__ import annotations

from typing import Any

from ..errors import KernelDied, KernelRestarted, KernelsError
from ..kernel_driver.message import EMPTY_DICT, make_parts

SHOWN_AS = {"terminating": "dead", "restarting": "starting"}
"""States that are not sent, and what is sent instead: clients do not know `terminating`; and JupyterLab
opens a new socket when it hears `restarting`, which would hear it again: only the watchdog says it, once."""


def wire_state(execution_state: str) -> str:
    """An execution state as a client is told it: starting, idle, busy or dead."""
    return SHOWN_AS.get(execution_state, execution_state)


def status(
    execution_state: str, session: str, parent_header: bytes = EMPTY_DICT, reason: str | None = None
) -> list[bytes]:
    """The parts of an iopub status message."""
    content: dict[str, Any] = {"execution_state": wire_state(execution_state)}
    if reason:
        content["reason"] = reason
    return make_parts("status", content, session, parent_header)


def stream(name: str, text: str, session: str, parent_header: bytes = EMPTY_DICT) -> list[bytes]:
    """The parts of an iopub stream message."""
    return make_parts("stream", {"name": name, "text": text}, session, parent_header)


def error(error: KernelsError, session: str, parent_header: bytes) -> list[bytes]:
    """The parts of an iopub error message: what a front end shows below a cell."""
    content = {"ename": _ename(error), "evalue": error.message, "traceback": [f"{_ename(error)}: {error.message}"]}
    return make_parts("error", content, session, parent_header)


def _ename(error: KernelsError) -> str:
    return "DeadKernelError" if isinstance(error, KernelDied) else type(error).__name__


def error_reply(msg_type: str, parent_header: bytes, session: str, error: KernelsError) -> list[bytes]:
    """The parts of the reply to a request that nobody else will answer.

    After a restart the status is "aborted", which front ends show as a cell that did not run; else
    it is "error", with what happened as ename and evalue.
    """
    content: dict[str, Any]
    if isinstance(error, KernelRestarted):
        content = {"status": "aborted"}
    else:
        content = {"status": "error", "ename": _ename(error), "evalue": error.message, "traceback": []}
    if msg_type == "execute_request":
        content |= {"execution_count": None, "user_expressions": {}, "payload": []}
    return make_parts(msg_type.removesuffix("_request") + "_reply", content, session, parent_header)
