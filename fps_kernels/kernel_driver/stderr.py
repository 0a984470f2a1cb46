"""The stderr of a kernel's process: it is read and logged, and its last lines are kept."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque

logger = logging.getLogger(__name__)

STDERR_LINES = 20
"""The number of lines that are kept."""
STDERR_READ_BYTES = 65_536
"""The bytes that one read takes: as many as a pipe of Linux holds."""
STDERR_LINE_CHARS = 500
"""The number of characters of a line that are kept."""


class StderrReader:
    """Reads a kernel's stderr as long as the process lives, because a full pipe would block it.

    kernel_id: the kernel's id, for the log.
    fd: the reading end of the pipe, which is closed at the end.

    lines: the last lines, oldest first.
    closed: a future that is done when there is no more to read.

    This is no transport of the event loop: uvloop closes the descriptor of a pipe twice. If its number was given to
    another thread in between, such as those of ZMQ, that thread's descriptor is closed, and libzmq aborts.
    """

    def __init__(self, kernel_id: str, fd: int) -> None:
        self.lines: deque[str] = deque(maxlen=STDERR_LINES)
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        self.kernel_id = kernel_id
        self._fd = fd
        self._partial = b""
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, STDERR_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            logger.warning("reading stderr of kernel %s failed: %s", self.kernel_id, exc.strerror)
            data = b""
        if not data:
            self.close()
            return
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial[:65_536]
        for line in lines:
            self._keep(line)

    def close(self) -> None:
        """Stop reading. May be called twice."""
        if self.closed.done():
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        if self._partial:
            self._keep(self._partial)
        self.closed.set_result(None)

    def _keep(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.lines.append(text[:STDERR_LINE_CHARS])
        logger.info("kernel %s: %s", self.kernel_id, text)
