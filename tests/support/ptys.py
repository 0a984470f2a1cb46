"""A command on a terminal of its own, as its user has it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")


class PtyCommand:
    """A process whose standard streams are a terminal, and which Ctrl-C there reaches.

    columns: the width of the terminal.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, columns: int = 80, lines: int = 40
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environ = {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | dict(env)
        environ.pop("COLUMNS", None)  # it would count more than the terminal
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=cwd, preexec_fn=own_terminal
        )
        os.close(theirs)
        self._data = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._ours, 65_536):
                self._data += data

    @property
    def raw(self) -> str:
        """All that the terminal got."""
        return self._data.decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without escape sequences, and with line ends as in a file."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, timeout_s: float = 60, *, times: int = 1) -> None:
        """Until the terminal has got a text: it has no events for that."""
        deadline = time.monotonic() + timeout_s
        while self.text.count(text) < times:
            assert time.monotonic() < deadline, self.raw
            assert self.process.poll() is None or self._reader.is_alive(), self.raw
            time.sleep(0.02)

    def wait_end(self, timeout_s: float = 60) -> int:
        """Its exit code, once it has ended and all of what it wrote is read."""
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        os.close(self._ours)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, columns: int = 80
) -> Iterator[PtyCommand]:
    """A command on a terminal; it is killed at the end, if it has not ended."""
    one = PtyCommand(command, env=env, cwd=cwd, columns=columns)
    try:
        yield one
    finally:
        one.close()
