"""The stderr and stdout of a kernel's process: they are read and logged, and the last lines are kept.

A kernel may write anything there, as fast as it likes: the log gets a bounded number of lines, in which nothing is left
that a terminal would obey.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence

from ..descriptors import add_reader, remove_reader
from ..log_text import printable
from .line_rate import LineRate

logger = logging.getLogger(__name__)

STDERR_LINES = 20
"""The number of lines that are kept."""
STDERR_READ_BYTES = 65_536
"""The bytes that one read takes: as many as a pipe of Linux holds."""
STDERR_LINE_CHARS = 500
"""The number of characters of a line that are kept."""
MAX_LINE_BYTES = 65_536
"""The bytes that are held of a line whose end has not come; the rest of it is dropped."""
LOG_WINDOW_S = 10.0
LOG_LINES = 200
"""The lines of one kernel that are logged in a window: four long tracebacks, or 1.7 million lines a day."""
LOG_BYTES = 65_536
"""The bytes of those lines."""
LOG_LINE_CHARS = 1_500
"""The characters of a line that are logged."""


class StderrLog:
    """Logs what a kernel writes, as much of it as is right.

    kernel_id: the kernel's id, which may change.
    """

    def __init__(self, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self._loop = asyncio.get_running_loop()
        self._rate = LineRate(LOG_WINDOW_S, LOG_LINES, LOG_BYTES, LOG_LINE_CHARS)
        self._report: asyncio.TimerHandle | None = None

    def write(self, lines: Sequence[bytes]) -> None:
        """Log lines, or count them for the report that is logged at the end of the window."""
        now = self._loop.time()
        for line in lines:
            if self._rate.admits(len(line), now):
                self.close()
                logger.info("kernel %s: %s", self.kernel_id, printable(text_of(line), LOG_LINE_CHARS))
        if self._rate.left_out_lines and self._report is None:
            self._report = self._loop.call_at(self._rate.end, self._end_window)

    def _end_window(self) -> None:
        """End the window with its report, which uvloop makes up to a millisecond early: the next line is admitted."""
        self._rate.end_window()
        self.close()

    def close(self) -> None:
        """Say what was left out so far. May be called twice."""
        if self._report is not None:
            self._report.cancel()
            self._report = None
        lines, size = self._rate.take_left_out()
        if lines:
            logger.info("kernel %s: %d more lines (%d bytes) are left out", self.kernel_id, lines, size)


class StderrReader:
    """Reads a kernel's stderr as long as the process lives, because a full pipe would block it.

    kernel_id: the kernel's id, for the log.
    fd: the reading end of the pipe, which is closed at the end.
    on_lines: called with the lines of each read.

    lines: the last lines, oldest first.
    log: logs them.
    closed: a future that is done when there is no more to read.

    This is no transport of the event loop: uvloop closes the descriptor of a pipe twice. If its number was given to
    another thread in between, such as those of ZMQ, that thread's descriptor is closed, and libzmq aborts.
    """

    def __init__(
        self, kernel_id: str, fd: int, on_lines: Callable[[Sequence[bytes]], None] = lambda lines: None
    ) -> None:
        self.lines: deque[str] = deque(maxlen=STDERR_LINES)
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        self.log = StderrLog(kernel_id)
        self._fd = fd
        self._on_lines = on_lines
        self._partial = b""
        os.set_blocking(fd, False)
        add_reader(self._loop, fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, STDERR_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            logger.warning("reading stderr of kernel %s failed: %s", self.log.kernel_id, exc.strerror)
            data = b""
        if not data:
            self.close()
            return
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial[:MAX_LINE_BYTES]
        self._keep(lines)

    def close(self) -> None:
        """Stop reading. May be called twice."""
        if self.closed.done():
            return
        remove_reader(self._loop, self._fd)
        os.close(self._fd)
        if self._partial:
            self._keep([self._partial])
        self.log.close()
        self.closed.set_result(None)

    def _keep(self, lines: list[bytes]) -> None:
        self.log.write(lines)
        self._on_lines(lines)
        self.lines.extend(text_of(line)[:STDERR_LINE_CHARS] for line in lines[-STDERR_LINES:])


def text_of(line: bytes) -> str:
    """A line without its end, whatever its bytes are."""
    return line.decode("utf-8", "replace").rstrip("\r")
