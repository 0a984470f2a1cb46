"""Stream text as JupyterLab shows it: a carriage return overwrites the line, a backspace deletes. Pure."""

from __future__ import annotations

import re

MAX_LINE_CHARS = 65_536
"""The part of a line that a carriage return can go back over."""

_CONTROL = re.compile(r"([\n\r\b])")


class StreamText:
    """The text of one stream output, and how it has changed since it was last taken.

    Front ends edit only the end of a text cheaply, so only the line that is being written can change.

    max_line_chars: the part of a line that can change.
    """

    def __init__(self, max_line_chars: int = MAX_LINE_CHARS) -> None:
        self._max_line_chars = max_line_chars
        self._lines: list[str] = []
        self._fresh: list[str] = []  # the lines that were completed since the last take
        self._line = ""
        self._column = 0
        self._taken_line = ""
        self._lines_chars = 0
        self._head_chars: int | None = None  # the text before the notice, once something was cut out

    def __str__(self) -> str:
        return "".join(self._lines) + self._line

    def __len__(self) -> int:
        """The length in characters."""
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
        """Complete the part before the cursor of a line that is too long."""
        if self._column > self._max_line_chars:
            self._complete(self._line[: self._column])
            self._line, self._column = self._line[self._column :], 0

    def take_edit(self) -> tuple[int, str]:
        """The edit of the text that was taken last: the UTF-8 bytes to delete at its end, and the text to append."""
        now = "".join(self._fresh) + self._line
        before = self._taken_line
        kept = len(before) if now.startswith(before) else _common_chars(before, now)
        self._fresh.clear()
        self._taken_line = self._line
        return len(before[kept:].encode()), now[kept:]

    def cut(self, head_chars: int, tail_chars: int, notice: str) -> None:
        """Keep only the two ends, with a notice between them. Then the whole text has to be taken again."""
        text = "".join(self._lines)
        if self._head_chars is None:  # else the earlier notice is cut out with the rest
            # Cut at the end of a line, unless that leaves too little.
            self._head_chars = text.rfind("\n", head_chars // 2, head_chars) + 1 or min(head_chars, len(text))
        end = max(self._head_chars, len(text) - tail_chars)
        end = text.find("\n", end, end + tail_chars // 2) + 1 or end
        text = f"{text[: self._head_chars]}{notice}{text[end:]}"
        self._lines, self._lines_chars = [text], len(text)


def _common_chars(one: str, other: str) -> int:
    """The number of characters that two texts have in common at their start."""
    for number, (here, there) in enumerate(zip(one, other, strict=False)):
        if here != there:
            return number
    return min(len(one), len(other))
