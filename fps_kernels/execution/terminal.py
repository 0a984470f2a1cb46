"""Stream text as JupyterLab shows it: a carriage return overwrites the line, a backspace deletes. Pure."""

from __future__ import annotations

import re

MAX_LINE_CHARS = 65_536
"""How far back a carriage return goes in a line without end."""

_CONTROL = re.compile(r"([\n\r\b])")


class StreamText:
    """The text of one stream output, and how it changed since it was last taken.

    A front end edits the end of a text cheaply, and nothing else: only the line that is being
    written can change.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._fresh: list[str] = []  # those of the lines that were completed since the last take
        self._line = ""
        self._column = 0
        self._taken_line = ""
        self._lines_chars = 0
        self._head_chars: int | None = None  # what was before the notice, once something was cut out

    def __str__(self) -> str:
        return "".join(self._lines) + self._line

    def __len__(self) -> int:
        """In characters."""
        return self._lines_chars + len(self._line)

    def write(self, text: str) -> None:
        if self._column == len(self._line) and "\r" not in text and "\b" not in text:
            lines, newline, rest = text.rpartition("\n")
            if newline:
                self._complete(self._line + lines + newline)
                self._line = rest
            else:
                self._line += rest
            self._column = len(self._line)
            self._bound_line()
        else:
            for piece in _CONTROL.split(text):
                self._write_piece(piece)
                self._bound_line()

    def _write_piece(self, piece: str) -> None:
        if piece == "\n":
            self._complete(self._line + "\n")
            self._line, self._column = "", 0
        elif piece == "\r":
            self._column = 0
        elif piece == "\b":
            if self._column:
                self._line = self._line[: self._column - 1] + self._line[self._column :]
                self._column -= 1
        elif piece:
            end = self._column + len(piece)
            self._line = self._line[: self._column] + piece + self._line[end:]
            self._column = end

    def _complete(self, line: str) -> None:
        self._lines.append(line)
        self._fresh.append(line)
        self._lines_chars += len(line)

    def _bound_line(self) -> None:
        """Of a line that is too long, what is left of the cursor stays as it is."""
        if self._column > MAX_LINE_CHARS:
            self._complete(self._line[: self._column])
            self._line, self._column = self._line[self._column :], 0

    def take_edit(self) -> tuple[int, str]:
        """What to do to the text that was taken last: delete so many UTF-8 bytes at its end, then append this."""
        now = "".join(self._fresh) + self._line
        before = self._taken_line
        kept = len(before) if now.startswith(before) else _common_chars(before, now)
        self._fresh.clear()
        self._taken_line = self._line
        return len(before[kept:].encode()), now[kept:]

    def cut(self, head_chars: int, tail_chars: int, notice: str) -> None:
        """Keep only the two ends. What was taken before is of no use then: take the whole text."""
        text = "".join(self._lines)
        if self._head_chars is None:  # else the notice that is there is cut out with the rest
            # Whole lines, if they are not so long that little else would be left.
            self._head_chars = text.rfind("\n", head_chars // 2, head_chars) + 1 or min(head_chars, len(text))
        end = max(self._head_chars, len(text) - tail_chars)
        end = text.find("\n", end, end + tail_chars // 2) + 1 or end
        text = f"{text[: self._head_chars]}{notice}{text[end:]}"
        self._lines, self._lines_chars = [text], len(text)


def _common_chars(one: str, other: str) -> int:
    """How many characters the two have in common at their start."""
    for number, (here, there) in enumerate(zip(one, other, strict=False)):
        if here != there:
            return number
    return min(len(one), len(other))
