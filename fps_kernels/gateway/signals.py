"""The signals that shut down the gateway."""

from __future__ import annotations

import asyncio
import signal
import sys

ANSWER_TIMEOUT_S = 5
"""Seconds to wait for an answer on the terminal before the server resumes, as in Jupyter."""


def stop_on_signals(*, ask: bool) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set.

    ask: whether SIGINT asks on the terminal first. A second one is an answer, too.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def confirm() -> None:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        print("Shut down this server (y/[n])? ", end="", flush=True)
        resuming = loop.call_later(ANSWER_TIMEOUT_S, resume)

        def on_answer() -> None:
            resuming.cancel()
            if sys.stdin.readline().strip().lower().startswith("y"):
                loop.remove_reader(sys.stdin)
                stop.set()
            else:
                resume()

        loop.add_reader(sys.stdin, on_answer)

    def resume() -> None:
        loop.remove_reader(sys.stdin)
        print("Resuming.", flush=True)
        loop.add_signal_handler(signal.SIGINT, confirm)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, confirm if ask else stop.set)
    return stop
