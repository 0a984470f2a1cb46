"""How the text of a cell comes to a page in a browser that cannot show it as fast as it is printed.

JupyterLab lays out all the text of an output anew for each stream message that it gets. A kernel that prints a million
lines sends them in two hundred messages, the average one of which finds half of the text there already: the page was
frozen for 82 s. So the text of a cell that has printed much is collected, the longer the more of it the page has, and
sent as one message. As each then brings a fixed share of what is there, a few dozen messages are enough for any amount,
and the page is busy for a fixed share of the time. Nothing is left out.

What follows the text, be it a result, a question or the end of the cell, does not wait: the text is sent before it.

Pure: time is passed in.
"""

from __future__ import annotations

FREE_BYTES = 16 * 1024
"""Text of a cell that comes as it is printed."""
SHOWN_BYTES_PER_S = 1024 * 1024
"""How much text of short lines JupyterLab 4.6 in Chromium lays out in a second, about."""
REST = 2
"""For how many times as long as the page needs for a message it then gets no other one."""
COLLECTED_MAX_BYTES = 16 * 1024 * 1024
"""The size from which on collected text is sent."""


class PagePace:
    """What one page has been sent of the text of one cell.

    max_wait_s: the longest time for which text is collected.
    """

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._parent = b""
        self._bytes = 0
        self._last = 0.0

    def is_much(self, parent: bytes) -> bool:
        """Whether the page has much text of the cell with this parent header, so that what comes should be merged."""
        return self._bytes > FREE_BYTES and parent == self._parent

    def wait_s(self, parent: bytes, now: float) -> float:
        """Seconds for which more text of the cell should be collected; 0 or less: none."""
        if not self.is_much(parent):
            return 0.0
        pause_s = min(self._max_wait_s, REST * self._bytes / SHOWN_BYTES_PER_S)
        return self._last + pause_s - now

    def sent(self, parent: bytes, size: int, now: float) -> None:
        """Count text that was sent. size: in bytes."""
        if parent != self._parent:
            self._parent, self._bytes = parent, 0
        self._bytes += size
        self._last = now
