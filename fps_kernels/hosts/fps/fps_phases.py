"""What FPS leaves to its modules: what they miss, more time to stop than a second, and the end at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import threading
from importlib.metadata import entry_points
from typing import Any, TypeVar

import click
from fps import Module
from jupyverse_api.app import App
from jupyverse_api.main import Lifespan
from jupyverse_auth import Auth
from jupyverse_frontend import FrontendConfig
from jupyverse_yjs import Yjs
from sniffio import current_async_library

from ... import __version__
from ..jupyverse.kernels_setup import end_with

Value = TypeVar("Value")

ASYNCIO = "asyncio"
PACKAGE = "fps_kernels"
"""Our distribution, which has plugins for both generations."""

PUBLISHERS: dict[type[Any], tuple[str, str]] = {
    App: ("app", "jupyverse-api"),
    Auth: ("auth", "fps-noauth or fps-auth"),
    FrontendConfig: ("frontend", "fps-frontend"),
    Lifespan: ("jupyverse", "jupyverse-api"),
    Yjs: ("yjs", "fps-yjs, or set kernels.require_yjs=false"),
}
"""What the name of the module that publishes a value contains, under the command `jupyverse`, and what installs it."""
SHARE_OF_PREPARATION = 0.8
"""The share of the time for the preparation of all modules after which a value is taken for missing: FPS would then
show a traceback for each module that waits, and end with the exit code of success."""


def check_backend() -> None:
    """End the process with one line if the command that it was started with names another backend than asyncio."""
    command = click.get_current_context(silent=True)
    backend = command.params.get("backend", ASYNCIO) if command is not None else ASYNCIO
    if backend != ASYNCIO:
        end_with(f"kernels: the backend {backend} is not supported: use --backend {ASYNCIO}")


def check_event_loop() -> None:
    """Raises RuntimeError where the event loop is not asyncio's, whoever runs it."""
    library = current_async_library()
    if library != ASYNCIO:
        raise RuntimeError(f"kernels: the backend {library} is not supported: use {ASYNCIO}")


async def value_of(module: Module, kind: type[Value]) -> Value:
    """Get what another module publishes. Ends the process with one line if it is not there in time."""
    root = _root(module)
    time_s = root._prepare_timeout if root._global_start_timeout is None else root._global_start_timeout
    wait_s = SHARE_OF_PREPARATION * time_s
    try:
        value: Value = await module.get(kind, timeout=wait_s)
    except TimeoutError:
        name, package = PUBLISHERS[kind]
        names = [one for one in (*root.modules, root.name) if name in one]
        if names:
            what = f"the plugin {names[0]} is not ready after {wait_s:g} s"
            end_with(f"kernels: {what}: --timeout SECONDS gives all of them more time")
        older = sorted(
            {f"{one.dist.name} {one.dist.version}" for one in entry_points(group="jupyverse.components") if one.dist}
            - {f"{PACKAGE} {__version__}"}
        )
        unused = f" ({', '.join(older)}: of the Jupyverse on Asphalt, not used here)" if older else ""
        end_with(f"kernels: no plugin publishes {kind.__name__}: install {package}{unused}")
    return value


def has_plugin(module: Module, name: str) -> bool:
    """Whether the server has a plugin whose name contains `name`."""
    return any(name in one for one in _root(module).modules)


def _root(module: Module) -> Module:
    while module.parent is not None:
        module = module.parent
    return module


class Ending:
    """The end of the server: its time, and SIGTERM, which FPS leaves to the system. Kernels would be left behind.

    module: any module of the server.
    time_s: seconds that the modules have to stop, unless they have more anyway. Only the root module's time counts,
      which the command `jupyverse` sets to one second.
    """

    def __init__(self, module: Module, time_s: float) -> None:
        self._module = module
        self._root = _root(module)
        self._usual_time_s = self._root._stop_timeout
        self._root._stop_timeout = max(self._usual_time_s, time_s)
        self._handles = False

    def handle_sigterm(self) -> None:
        """End the server at SIGTERM, unless somebody else handles that already."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
            self._handles = True

    def _end(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _ignore)
        at_interrupt = signal.getsignal(signal.SIGINT)
        if callable(at_interrupt) and at_interrupt is not signal.default_int_handler:
            at_interrupt(signal.SIGINT, None)  # it cancels the main task, and FPS waits until all modules have stopped
        else:  # it is ignored, as in the background of a script
            # After this call FPS waits for the whole time, as it does not hear that modules have stopped.
            self._root._stop_timeout = self._usual_time_s
            self._module.exit_app()  # type: ignore[no-untyped-call]  # FPS leaves it untyped

    def restore_sigterm(self) -> None:
        """Leave SIGTERM to the system again, if it was handled."""
        if self._handles:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            self._handles = False


def _ignore() -> None:
    """What a second SIGTERM does: the server is ending."""
