"""What the execution of a cell has put out. Pure."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

MAX_CHARS = 64 * 1024 * 1024
"""The bound of a cell's output, in characters, about: as for the cells of shared documents."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MEDIA_TYPE = re.compile(rf"{_TOKEN.pattern}/{_TOKEN.pattern}")

Bundle = Mapping[str, Any]
"""Data by MIME type, as in the messages of a kernel."""


class CellOutputs:
    """What the execution of a cell has put out so far.

    It is fed the contents of messages, and takes any JSON, as a kernel may send anything.

    max_chars: the bound of the output, in characters.
    too_large: whether the output went beyond that; nothing that came later is kept.
    """

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self.too_large = False
        self._max_chars = max_chars
        self._size = 0
        self._clear_next = False
        self._error: str | None = None
        self._stdout = io.StringIO()  # not a list: a kernel may send characters one by one
        self._result: Bundle = {}
        self._displayed: dict[str, Any] = {}

    @property
    def failure(self) -> str | None:
        """The text that is sent instead of the outputs, if the cell failed; else None."""
        if self._error is not None:
            return self._error
        if self.too_large:
            return f"The cell produced more than {self._max_chars} characters of output\n"
        return None

    @property
    def stdout(self) -> str:
        return self._stdout.getvalue()

    @property
    def result(self) -> Bundle:
        """The data of the last execute_result."""
        return self._result

    @property
    def shown(self) -> dict[str, Any]:
        """The data of each type: from the result, or else from the last output that was displayed in this type."""
        displayed = {name: data for name, data in self._displayed.items() if name not in self._result}
        return {name: data for name, data in {**self._result, **displayed}.items() if _MEDIA_TYPE.fullmatch(name)}

    def add(self, msg_type: str, content: Mapping[str, Any]) -> None:
        """Take an iopub message; one that is not an output is ignored."""
        if msg_type == "stream":
            self.stream(content)
        elif msg_type == "execute_result":
            self.execute_result(content)
        elif msg_type in ("display_data", "update_display_data"):
            self.display_data(content)
        elif msg_type == "error":
            self.error(content)
        elif msg_type == "clear_output":
            self.clear_output(content)

    def stream(self, content: Mapping[str, Any]) -> None:
        """Take a text; only stdout is kept, and text for which the kernel names no stream."""
        self._clear_if_pending()
        text = content.get("text")
        if content.get("name", "stdout") == "stdout" and isinstance(text, str) and text and self._takes(len(text)):
            self._stdout.write(text)

    def execute_result(self, content: Mapping[str, Any]) -> None:
        self._clear_if_pending()
        data = content.get("data")
        if isinstance(data, dict) and self._takes(_size(data) - _size(self._result)):
            self._result = data

    def display_data(self, content: Mapping[str, Any]) -> None:
        """Take a display_data, or an update_display_data, which then is what was displayed last."""
        self._clear_if_pending()
        data = content.get("data")
        if isinstance(data, dict):
            replaced = {name: self._displayed[name] for name in data if name in self._displayed}
            if self._takes(_size(data) - _size(replaced)):
                self._displayed.update(data)

    def error(self, content: Mapping[str, Any]) -> None:
        # A pending clear_output does not matter: outputs before an error are not sent.
        self._error = error_text(str(content.get("ename", "")), str(content.get("evalue", "")))

    def reply(self, content: Mapping[str, Any]) -> None:
        """Take the execute_reply: it may report an error that was not on iopub, or that the cell was aborted."""
        status = content.get("status")
        if status == "error" and self._error is None:
            self.error(content)
        elif status in ("abort", "aborted"):
            self.error({"ename": "Aborted", "evalue": "The cell was not executed"})

    def clear_output(self, content: Mapping[str, Any]) -> None:
        if content.get("wait"):
            self._clear_next = True
        else:
            self._clear()

    def _clear(self) -> None:
        self._clear_next = False
        self._size = 0
        self._stdout = io.StringIO()
        self._result, self._displayed = {}, {}

    def _clear_if_pending(self) -> None:
        if self._clear_next:
            self._clear()

    def _takes(self, size: int) -> bool:
        self._size += size
        self.too_large = self.too_large or self._size > self._max_chars
        return not self.too_large


def _size(data: Bundle) -> int:
    """The size of data as JSON, in characters, about."""
    return sum(len(name) + len(v if isinstance(v, str) else json.dumps(v)) for name, v in data.items())


def error_text(ename: str, evalue: str) -> str:
    """An error in the words of Kernel Gateway."""
    return f"Error {ename}: {evalue} \n"
