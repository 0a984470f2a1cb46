"""How often a kernel that keeps dying is restarted. Pure: the time is passed in."""

from __future__ import annotations

from collections import deque

MAX_BACKOFF_S = 10.0
"""The longest wait before a restart."""
MAX_DEATHS = 100
"""Deaths that are remembered."""


class RestartBudget:
    """The restarts that a kernel may still have before it is left dead.

    limit: deaths within the window that are followed by a restart; 0 for none.
    window_s: seconds after which a death no longer counts.
    backoff_s: seconds before the second restart in a row; doubled for each one after that.
    """

    def __init__(self, limit: int, window_s: float, backoff_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._backoff_s = backoff_s
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    def on_death(self, now: float) -> float | None:
        """Count a death at `now` (s); returns the seconds to wait before a restart, None to stay dead."""
        self._deaths.append(now)
        while now - self._deaths[0] > self._window_s:
            self._deaths.popleft()
        if len(self._deaths) > self._limit:
            return None
        if len(self._deaths) == 1:
            return 0.0
        return min(self._backoff_s * 2.0 ** (len(self._deaths) - 2), MAX_BACKOFF_S)

    def reset(self) -> None:
        """Forget all deaths, as after a restart that a user asked for."""
        self._deaths.clear()
