"""What the execution of a cell has put out. Pure."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

MAX_CHARS = 64 * 1024 * 1024
"""What a cell may put out, about: as much as a shared document takes of one."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MEDIA_TYPE = re.compile(rf"{_TOKEN.pattern}/{_TOKEN.pattern}")

Bundle = Mapping[str, Any]
"""Data by MIME type, as in the messages of a kernel."""


class CellOutputs:
    """What the execution of a cell has put out so far.

    Feed it the contents of the messages; it takes any JSON, as a kernel may send what it likes.
    too_large: it has put out more than max_chars; of what came since, nothing is kept.
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
        """What the client is told instead of the outputs, if the cell failed."""
        if self._error is not None:
            return self._error
        if self.too_large:
            return f"The cell put out more than {self._max_chars} characters\n"
        return None

    @property
    def stdout(self) -> str:
        return self._stdout.getvalue()

    @property
    def result(self) -> Bundle:
        """That of the last execute_result."""
        return self._result

    @property
    def shown(self) -> dict[str, Any]:
        """The data of each type: of the result, or else of the last output that was displayed in this type."""
        displayed = {name: data for name, data in self._displayed.items() if name not in self._result}
        return {name: data for name, data in {**self._result, **displayed}.items() if _MEDIA_TYPE.fullmatch(name)}

    def add(self, msg_type: str, content: Mapping[str, Any]) -> None:
        """The content of an iopub message; what is not an output is ignored."""
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
        """Only stdout is kept, and what a kernel does not say the stream of."""
        self._start_anew()
        text = content.get("text")
        if content.get("name", "stdout") == "stdout" and isinstance(text, str) and text and self._takes(len(text)):
            self._stdout.write(text)

    def execute_result(self, content: Mapping[str, Any]) -> None:
        self._start_anew()
        data = content.get("data")
        if isinstance(data, dict) and self._takes(_size(data) - _size(self._result)):
            self._result = data

    def display_data(self, content: Mapping[str, Any]) -> None:
        """Also update_display_data: it is the last that was displayed then."""
        self._start_anew()
        data = content.get("data")
        if isinstance(data, dict):
            replaced = {name: self._displayed[name] for name in data if name in self._displayed}
            if self._takes(_size(data) - _size(replaced)):
                self._displayed.update(data)

    def error(self, content: Mapping[str, Any]) -> None:
        # What clear_output announced is not done: the outputs before an error are not sent anyway.
        self._error = error_text(str(content.get("ename", "")), str(content.get("evalue", "")))

    def reply(self, content: Mapping[str, Any]) -> None:
        """The content of the execute_reply: it tells of errors that iopub did not have, and of an abort."""
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

    def _start_anew(self) -> None:
        if self._clear_next:
            self._clear()

    def _takes(self, size: int) -> bool:
        self._size += size
        self.too_large = self.too_large or self._size > self._max_chars
        return not self.too_large


def _size(data: Bundle) -> int:
    """In characters, as JSON, about."""
    return sum(len(name) + len(v if isinstance(v, str) else json.dumps(v)) for name, v in data.items())


def error_text(ename: str, evalue: str) -> str:
    """An error as the original words it."""
    return f"Error {ename}: {evalue} \n"
