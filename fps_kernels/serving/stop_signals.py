"""How a server of ours ends: at a signal, or as a client asks, and in bounded time whatever a plugin does.

The first SIGTERM or SIGINT begins the end: kernels are shut down, WebSockets are closed, plugins tear down. A second
one ends the process at once, and so does the time if the end takes too long; then one line says what did not end.
The kernels of a process that ends so are ended by its reaper, as those of a killed one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import PurePath
from types import CodeType, TracebackType
from typing import NoReturn, Self

from ..descriptors import add_reader, remove_reader
from .signal_handlers import on_signal
from .standard_streams import tell

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5
"""Seconds to wait for an answer on the terminal before the server resumes, as in Jupyter."""
MAX_NAMED = 5
"""What did not end and is named."""


class StopSignals:
    """What begins the end of a server, and forces it. A context, which has to last until all else has ended.

    ask: whether SIGINT asks on the terminal first. A second one is an answer, too.
    patience_s: seconds that the end may take.
    """

    def __init__(self, *, ask: bool, patience_s: float) -> None:
        self.event = asyncio.Event()
        """Set when the end has begun."""
        self._ask = ask
        self._patience_s = patience_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forcing: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._forcing is not None:
            self._forcing.cancel()

    def listen(self) -> None:
        """Handle the signals from now on. To be called on the event loop, in the main thread."""
        self._loop = asyncio.get_running_loop()
        on_signal(self._loop, signal.SIGTERM, self._on_signal)
        on_signal(self._loop, signal.SIGINT, self._confirm if self._ask else self._on_signal)

    def begin(self) -> None:
        """Begin the end. To be called on the event loop."""
        if self.event.is_set():
            return
        self.event.set()
        # A thread, as it must work while the loop is blocked, or closed and waiting for a thread.
        self._forcing = threading.Timer(self._patience_s, self._force)
        self._forcing.daemon = True
        self._forcing.start()

    def _on_signal(self) -> None:
        self.begin()
        for other in (signal.SIGTERM, signal.SIGINT):  # from now on without the loop, which may be blocked
            signal.signal(other, self._on_another)

    def _on_another(self, signum: int, frame: object) -> NoReturn:
        tell(f"{signal.Signals(signum).name} for the second time: ending at once")
        os._exit(128 + signum)

    def _force(self) -> None:
        left = ", ".join(still_running(self._loop)) or "the event loop"
        logger.error("The server did not end within %g s: %s. Ending at once", self._patience_s, left)
        os._exit(1)

    def _confirm(self) -> None:
        loop = asyncio.get_running_loop()
        on_signal(loop, signal.SIGINT, self._on_signal)
        print("Shut down this server (y/[n])? ", end="", flush=True)
        resuming = loop.call_later(ANSWER_TIMEOUT_S, self._resume)

        def on_answer() -> None:
            resuming.cancel()
            if sys.stdin.readline().strip().lower().startswith("y"):
                remove_reader(loop, sys.stdin.fileno())
                self.begin()
            else:
                self._resume()

        add_reader(loop, sys.stdin.fileno(), on_answer)

    def _resume(self) -> None:
        loop = asyncio.get_running_loop()
        remove_reader(loop, sys.stdin.fileno())
        if not self.event.is_set():
            print("Resuming.", flush=True)
            on_signal(loop, signal.SIGINT, self._confirm)


def still_running(loop: asyncio.AbstractEventLoop | None) -> list[str]:
    """The tasks of a loop and the threads that are not ours, as `package (function)`; may be called in any thread."""
    found = dict.fromkeys(_codes_of_tasks(loop))
    found |= dict.fromkeys(_codes_of_threads())
    names = [f"{package_of(code)} ({code.co_name})" for code in found if package_of(code) not in _OURS]
    return list(dict.fromkeys(names))[:MAX_NAMED]


_OURS = {"fps_kernels", "asyncio", "concurrent", "threading", "uvicorn", "asphalt"}
"""What runs in any server of ours until its end."""


def _codes_of_tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[CodeType]:
    if loop is None:
        return
    for task in asyncio.all_tasks(loop):
        coroutine: object = task.get_coro()
        while coroutine is not None:  # what it waits for, down to what is not a coroutine
            code = getattr(coroutine, "cr_code", None)
            if isinstance(code, CodeType):
                yield code
            coroutine = getattr(coroutine, "cr_await", None)


def _codes_of_threads() -> Iterator[CodeType]:
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is threading.current_thread() or thread is threading.main_thread() or frame is None:
            continue
        while frame is not None and package_of(frame.f_code) in _OURS:
            frame = frame.f_back
        if frame is not None:
            yield frame.f_code


def package_of(code: CodeType) -> str:
    """The top-level package, or module, that a function is from, told by its file."""
    parts = PurePath(code.co_filename).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return parts[parts.index(folder) + 1].removesuffix(".py")
    if "fps_kernels" in parts:
        return "fps_kernels"
    return next(
        (parts[i + 1].removesuffix(".py") for i, part in enumerate(parts[:-1]) if part.startswith("python3.")),
        PurePath(code.co_filename).stem,
    )
