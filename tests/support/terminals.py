"""What a terminal shows."""

from __future__ import annotations


def terminal_text(text: str) -> str:
    """What a terminal with endless lines shows, one character after the other."""
    lines: list[list[str]] = [[]]
    column = 0
    for char in text:
        line = lines[-1]
        if char == "\n":
            lines.append([])
            column = 0
        elif char == "\r":
            column = 0
        elif char == "\b":
            if column:
                column -= 1
                del line[column]
        else:
            line[column : column + 1] = [char]
            column += 1
    return "\n".join("".join(line) for line in lines)
