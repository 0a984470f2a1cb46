"""What is logged of a kernel's life beside what goes wrong: its starts and its end, with their durations."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from ..kernel_driver.observer import LifecycleObserver
from ..serving.log_context import request_fields

if TYPE_CHECKING:
    from ..kernel_driver.launcher import Launcher
    from .kernel import Kernel

logger = logging.getLogger(__name__)


class LifeLog(LifecycleObserver):
    """Logs the life of one kernel.

    launcher: where its processes come from.
    """

    def __init__(self, kernel: Kernel, launcher: Launcher) -> None:
        self._kernel = kernel
        self._launcher = launcher
        self._made = self._began = monotonic()
        self._cause = request_fields()  # of a start that may be answered before it is over

    @classmethod
    def follow(cls, kernel: Kernel, launcher: Launcher) -> None:
        """Log the life of a kernel whose start has not begun."""
        log = cls(kernel, launcher)
        kernel.observers.add(log)
        kernel.on_stop(log.on_end)

    def on_ready(self, how: str) -> None:
        duration_s = monotonic() - self._began
        extra = {"event": "ready", "duration_s": round(duration_s, 3), "start": how, **self._cause}
        name = self._kernel.driver.name
        logger.info("kernel %s (%s) is ready after %.2f s (%s)", self._kernel.id, name, duration_s, how, extra=extra)

    def on_user_restart(self) -> None:
        self._began, self._cause = monotonic(), request_fields()

    def on_restarting(self, reason: str) -> None:
        self._began, self._cause = monotonic(), {}

    async def on_end(self) -> None:
        """The kernel has been shut down, or was left to others."""
        duration_s = monotonic() - self._made
        event, what = ("ended", "has ended") if self._launcher.owned else ("left", "is left to others")
        extra = {"event": event, "duration_s": round(duration_s, 3)}
        name = self._kernel.driver.name
        logger.info("kernel %s (%s) %s after %.1f s", self._kernel.id, name, what, duration_s, extra=extra)
