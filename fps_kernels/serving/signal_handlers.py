"""Signals to a server of ours, on any event loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def on_signal(loop: asyncio.AbstractEventLoop, signum: int, callback: Callable[[], object]) -> None:
    """Call `callback` on the loop at a signal, in place of what was called before. For the main thread."""
    try:
        loop.add_signal_handler(signum, callback)
    except NotImplementedError:  # it is optional for a loop

        def handle(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback)

        signal.signal(signum, handle)


def survive_hangup() -> None:
    """Let SIGHUP, as at the end of a terminal, change nothing, as Kernel Gateway does.

    It is not ignored, as that would be inherited by kernels. What was ignored already stays so, as with nohup.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, lambda *_: None)
