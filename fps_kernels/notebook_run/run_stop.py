"""What ends a run early: Ctrl-C, SIGTERM, or the end of its terminal. The second of them ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from ..serving.signal_handlers import on_signal
from ..serving.standard_streams import tell
from .run_outcome import Outcome


class RunStop:
    """The first signal that asked for the end.

    at_once: called before a second signal ends the process; the kernel's reaper ends the kernel then.
    event: set with the first one.
    outcome: what the command ends with because of it.
    """

    def __init__(self, at_once: Callable[[], None]) -> None:
        self.event = asyncio.Event()
        self.outcome = Outcome.INTERRUPTED
        self._at_once = at_once

    def listen(self) -> None:
        """Handle signals from now on. To be called on the event loop, in the main thread."""
        loop = asyncio.get_running_loop()
        on_signal(loop, signal.SIGINT, lambda: self._on_signal(Outcome.INTERRUPTED))
        on_signal(loop, signal.SIGTERM, lambda: self._on_signal(Outcome.TERMINATED))
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as with nohup
            on_signal(loop, hangup, lambda: self._on_signal(Outcome.TERMINATED))

    def _on_signal(self, outcome: Outcome) -> None:
        if self.event.is_set():
            self._at_once()
            tell("fps-kernels run: ending at once")
            os._exit(outcome)
        self.outcome = outcome
        self.event.set()
