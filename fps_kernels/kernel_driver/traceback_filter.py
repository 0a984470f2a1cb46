"""Takes the errors out of a kernel's messages, for servers whose clients are not to see what their code ran into. Pure.

Jupyter Server replaces the error on iopub alone. The reply to the request says the same once more, so here it is
replaced there, too. What code prints of an error is text like any other.
"""

from __future__ import annotations

from typing import Any

from .message import Message, dump_json

ERROR_TYPES = frozenset({"error", "pyerr"})
"""The messages on iopub that show an error: `pyerr` in version 4 of the message spec."""


class TracebackFilter:
    """Replaces the name, the text and the traceback of each error.

    replacement: the line that clients get instead of a traceback.
    """

    def __init__(self, replacement: str) -> None:
        # The same words as Jupyter Server's.
        self._error = {"ename": "ExecutionError", "evalue": "Execution error", "traceback": [replacement]}

    def apply(self, message: Message) -> None:
        """Replace what a message says of errors."""
        if message.channel == "iopub":
            if message.msg_type in ERROR_TYPES:
                message.frames[3] = dump_json(message.content | self._error)
            return
        if b'"error"' not in message.frames[3]:
            return
        content = message.content
        expressions = content.get("user_expressions")
        if isinstance(expressions, dict):
            content["user_expressions"] = {name: self._without(value) for name, value in expressions.items()}
        message.frames[3] = dump_json(self._without(content))

    def _without(self, value: Any) -> Any:
        """The content of a reply, or of one of its expressions, without its error if it has one."""
        if isinstance(value, dict) and value.get("status") == "error":
            return value | self._error
        return value
