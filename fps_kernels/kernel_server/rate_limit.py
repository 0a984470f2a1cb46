"""Rate limits for iopub, per WebSocket. Pure: time is passed in.

The classic server drops everything above its limits, results and errors included. Here a message rate makes stream
messages wait a little, so that they are merged, and a data rate cuts the middle out of stream text, with a notice.
Everything else always passes.
"""

from __future__ import annotations

from dataclasses import dataclass

MERGE_INTERVAL_S = 0.05
"""How long stream messages are collected once there are too many of them."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits on what one WebSocket is sent. 0 means no limit.

    msg_rate: iopub messages per second. data_rate: bytes of stream text per second.
    window_s: the period over which both are counted, in seconds.
    """

    msg_rate: float = 0.0
    data_rate: float = 0.0
    window_s: float = 3.0

    @property
    def on(self) -> bool:
        """Whether there is any limit."""
        return bool(self.msg_rate or self.data_rate)


class RateLimiter:
    """A counter of what one WebSocket was sent in the current window."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._began = float("-inf")
        self._messages = 0
        self._bytes = 0

    @property
    def cuts_text(self) -> bool:
        """Whether there is a data rate."""
        return bool(self._limits.data_rate)

    def _roll(self, now: float) -> None:
        if now - self._began >= self._limits.window_s:
            self._began = now
            self._messages = self._bytes = 0

    def too_many(self, now: float) -> bool:
        """Whether stream messages should be collected and merged before they are sent.

        True also when no more text may be sent: one notice is enough for many messages.
        """
        self._roll(now)
        limits = self._limits
        return bool(
            (limits.msg_rate and self._messages >= limits.msg_rate * limits.window_s)
            or (limits.data_rate and self._bytes >= int(limits.data_rate * limits.window_s))
        )

    def count(self, now: float, messages: int) -> None:
        """Count messages that are sent."""
        self._roll(now)
        self._messages += messages

    def allow_text(self, now: float, size: int) -> int:
        """How many of `size` bytes of stream text may be sent. Those are counted."""
        self._roll(now)
        if not self._limits.data_rate:
            return size
        left = max(0, int(self._limits.data_rate * self._limits.window_s) - self._bytes)
        allowed = min(size, left)
        self._bytes += allowed
        return allowed


def cut_middle(text: str, keep: int) -> str:
    """Keep about `keep` characters of a text, from both ends, and put a notice of what is missing between them."""
    if len(text) <= keep:
        return text
    head = keep // 2
    tail = keep - head
    missing = len(text) - keep
    notice = f"\n[{missing} characters are not shown: iopub_data_rate_limit]\n"
    return text[:head] + notice + (text[-tail:] if tail else "")
