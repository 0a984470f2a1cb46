"""How much of what a process writes goes into the log. Pure."""

from __future__ import annotations


class LineRate:
    """A limit of lines and bytes within a window of time: what is beyond is left out, and counted.

    window_s: seconds in a window, which begins with the first line after the last one.
    max_lines, max_bytes: what may be logged within a window.
    line_bytes: what is logged of a line at most.
    """

    def __init__(self, window_s: float, max_lines: int, max_bytes: int, line_bytes: int) -> None:
        self.window_s = window_s
        self._line_bytes = line_bytes
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._end = float("-inf")
        self._lines = 0
        self._bytes = 0
        self.left_out_lines = 0
        self.left_out_bytes = 0

    @property
    def end(self) -> float:
        """The time at which the window ends."""
        return self._end

    def admits(self, size: int, now: float) -> bool:
        """Whether a line of this many bytes may be logged; if not, it is counted."""
        if now >= self._end:
            self._end = now + self.window_s
            self._lines = self._bytes = 0
        logged = min(size, self._line_bytes)
        if self._lines >= self._max_lines or self._bytes + logged > self._max_bytes:
            self._lines = self._max_lines  # shorter lines after it would be out of context
            self.left_out_lines += 1
            self.left_out_bytes += size
            return False
        self._lines += 1
        self._bytes += logged
        return True

    def end_window(self) -> None:
        """Begin a new window with the next line, whatever the clock says."""
        self._end = float("-inf")

    def take_left_out(self) -> tuple[int, int]:
        """The number of lines and bytes that were left out since this was asked last."""
        left_out = self.left_out_lines, self.left_out_bytes
        self.left_out_lines = self.left_out_bytes = 0
        return left_out
