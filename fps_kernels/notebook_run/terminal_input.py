"""A line from whoever sits at the terminal, for a cell that asks for input, without a thread that nobody could end."""

from __future__ import annotations

import asyncio
import os
import sys

from ..descriptors import add_reader, remove_reader
from ..log_text import printable
from ..serving.standard_streams import tell

MAX_LINE_BYTES = 64 * 1024


def can_ask() -> bool:
    """Whether there is somebody to ask: both the question and the answer go by a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(prompt: str, *, password: bool) -> str | None:
    """The line that is typed, without its end; None at the end of input.

    password: whether it is not shown. Raises OSError where that cannot be had.
    """
    if not password:
        return await _read_line(prompt)
    try:
        import termios
    except ModuleNotFoundError as exc:  # Windows
        raise OSError("a password cannot be asked for on this system") from exc
    before = termios.tcgetattr(0)
    hidden = [*before]
    hidden[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(0, termios.TCSAFLUSH, hidden)
        return await _read_line(prompt)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        tell("")


async def _read_line(prompt: str) -> str | None:
    sys.stderr.write(printable(prompt))
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    add_reader(loop, 0, readable.set)
    try:
        await readable.wait()
    finally:
        remove_reader(loop, 0)
    data = os.read(0, MAX_LINE_BYTES)  # a terminal gives a line at a time
    return data.decode(errors="replace").rstrip("\n") if data else None
