"""Messages that the server makes in a kernel's place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import FPSKernelsError, KernelRestarted
from ..kernel_driver.message import EMPTY_DICT, make_frames, peek_msg_type
from ..kernel_driver.state import wire_state


def status(
    execution_state: str, session: str, parent_header: bytes = EMPTY_DICT, reason: str | None = None
) -> list[bytes]:
    """The frames of an iopub status message."""
    content: dict[str, Any] = {"execution_state": wire_state(execution_state)}
    if reason:
        content["reason"] = reason
    return make_frames("status", content, session, parent_header)


def tells_of_restart(frames: Sequence[bytes]) -> bool:
    """Whether the message is the server's notice that the kernel died and is being restarted."""
    return b'"restarting"' in frames[3] and peek_msg_type(frames[0]) == "status"


def stream(name: str, text: str, session: str, parent_header: bytes = EMPTY_DICT) -> list[bytes]:
    """The frames of an iopub stream message."""
    return make_frames("stream", {"name": name, "text": text}, session, parent_header)


def error(error: FPSKernelsError, session: str, parent_header: bytes) -> list[bytes]:
    """The frames of an iopub error message, which a front end shows below a cell."""
    content = {"ename": error.ename, "evalue": error.message, "traceback": [f"{error.ename}: {error.message}"]}
    return make_frames("error", content, session, parent_header)


def error_reply(msg_type: str, parent_header: bytes, session: str, error: FPSKernelsError) -> list[bytes]:
    """The frames of the reply to a request that the kernel will not answer.

    After a restart the status is "aborted", which front ends show as a cell that did not run. Otherwise it is
    "error", with what happened as ename and evalue.
    """
    content: dict[str, Any]
    if isinstance(error, KernelRestarted):
        content = {"status": "aborted"}
    else:
        content = {"status": "error", "ename": error.ename, "evalue": error.message, "traceback": []}
    if msg_type == "execute_request":
        content |= {"execution_count": None, "user_expressions": {}, "payload": []}
    return make_frames(msg_type.removesuffix("_request") + "_reply", content, session, parent_header)
