"""The signals that shut down the gateway."""

from __future__ import annotations

import asyncio
import signal
import sys

from ..descriptors import add_reader, remove_reader
from ..serving.signal_handlers import on_signal

ANSWER_TIMEOUT_S = 5
"""Seconds to wait for an answer on the terminal before the server resumes, as in Jupyter."""


def stop_on_signals(*, ask: bool) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set.

    ask: whether SIGINT asks on the terminal first. A second one is an answer, too.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def confirm() -> None:
        on_signal(loop, signal.SIGINT, stop.set)
        print("Shut down this server (y/[n])? ", end="", flush=True)
        resuming = loop.call_later(ANSWER_TIMEOUT_S, resume)

        def on_answer() -> None:
            resuming.cancel()
            if sys.stdin.readline().strip().lower().startswith("y"):
                remove_reader(loop, sys.stdin.fileno())
                stop.set()
            else:
                resume()

        add_reader(loop, sys.stdin.fileno(), on_answer)

    def resume() -> None:
        remove_reader(loop, sys.stdin.fileno())
        print("Resuming.", flush=True)
        on_signal(loop, signal.SIGINT, confirm)

    on_signal(loop, signal.SIGTERM, stop.set)
    on_signal(loop, signal.SIGINT, confirm if ask else stop.set)
    return stop
