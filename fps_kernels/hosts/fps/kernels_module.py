"""The FPS module: it takes the configuration and publishes `Kernels`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from anyio import CancelScope
from fps import Module
from jupyverse_api.app import App
from jupyverse_api.main import Lifespan
from jupyverse_auth import Auth
from jupyverse_frontend import FrontendConfig
from jupyverse_kernels import Kernels
from jupyverse_kernels import KernelsConfig as JupyverseKernelsConfig
from jupyverse_yjs import Yjs

from ...kernels.keeping.opening import do_nothing, open_kernels
from ...serving.logs import sanitize_package
from ...tasks import TaskSet
from ..jupyverse.jupyverse_host import JupyverseHost
from ..jupyverse.kernels_setup import (
    ExternalWatch,
    check_options,
    check_this_system,
    follow_widgets,
    make_registry,
    one_line,
    with_slashes,
)
from ..jupyverse.users import Users
from .fps_phases import PACKAGE, Ending, check_backend, check_event_loop, has_plugin, value_of
from .fps_plugin import ModuleKernels
from .log_lines import log_as_structlog
from .module_config import ModuleConfig
from .open_sockets import OpenSockets
from .page_config_hook import extend_page_config

if TYPE_CHECKING:
    from ...execution.service import ExecutionService

STOP_MARGIN_S = 5.0
"""Seconds that the end of all kernels may take beyond those that they have to end by themselves."""
NO_ROOMS = "the documents of this Yjs plugin cannot be found; those of fps-yjs 0.14 can"
"""Why cells of shared documents are not run here, where there is another plugin for such documents."""


class KernelsModule(Module):
    """The kernels module of a Jupyverse.

    options: the options of ModuleConfig.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name)
        check_this_system()
        check_backend()
        with one_line():
            self.config = ModuleConfig.parse(options)
            self._options = self.config.options()
            self._origins = check_options(self._options)
        self._tasks = TaskSet()
        self._opened = asyncio.Event()
        self._external: ExternalWatch | None = None
        self._executions: ExecutionService | None = None

    async def prepare(self) -> None:
        """Publish the kernels. All modules together have a second for this, so that nothing is opened here."""
        check_event_loop()
        log_as_structlog(PACKAGE)
        sanitize_package()
        options = self._options
        self._ending = Ending(self, options.shutdown_wait_time_s + STOP_MARGIN_S)
        self.put(self.config, [ModuleConfig, JupyverseKernelsConfig])
        app = await value_of(self, App)
        auth = await value_of(self, Auth)  # type: ignore[type-abstract]  # values are found by base class
        frontend = await value_of(self, FrontendConfig)
        self._lifespan = await value_of(self, Lifespan)
        yjs = await value_of(self, Yjs) if self.config.require_yjs else None  # type: ignore[type-abstract]  # same

        base_url = with_slashes(frontend.base_url)
        with one_line():
            self._registry = make_registry(options, base_url)
        host = JupyverseHost(
            base_url,
            self._origins,
            Users(auth),
            self._wait_opened,
            answers_at_once=not options.start_answer_s,
            has_jupyterlab=has_plugin(self, "jupyterlab"),
        )
        app.add_middleware(OpenSockets)
        if yjs is not None:
            self._executions = _executions(yjs)
            follow_widgets(self._registry, yjs)
        self._kernels = ModuleKernels(app, auth, self._registry, host, self._executions)
        if yjs is not None and self._executions is None:
            self._kernels.execution_endpoints.unavailable = NO_ROOMS
        self.put(self._kernels, Kernels)
        # In a page no text may end the script that it stands in, which the plugin leaves to others.
        untracked = [one for one in options.untracked_message_types if "<" not in one]
        await extend_page_config(self, {"untracked_message_types": untracked})

    async def start(self) -> None:
        """Begin to open the kernels; requests wait for that."""
        self._ending.handle_sigterm()
        self._tasks.start(self._follow_lifespan(), name="end of the server")
        self._tasks.start(self._open(), name="opening of the kernels", log_failure=False)

    async def _open(self) -> None:
        with one_line():
            restore = do_nothing if self._executions is None else self._executions.restore
            await open_kernels(self._registry, self._kernels.sessions, restore)
        if self.config.allow_external_kernels:
            self._external = ExternalWatch(self._registry, self._options, self.config.external_connection_dir)
        self._opened.set()

    async def _wait_opened(self) -> None:
        await self._opened.wait()

    async def _follow_lifespan(self) -> None:
        """Stop the kernels as soon as the server is asked to end: what waits for one keeps its requests open."""
        await self._lifespan.shutdown_request.wait()
        await self._registry.stop()

    async def stop(self) -> None:
        """Stop the kernels, also when FPS does not wait for it any longer. It may come before the start."""
        with CancelScope(shield=True):
            await self._tasks.close()
            self._opened.set()  # requests that waited for it are refused now
            if self._external is not None:
                await self._external.close()
            if hasattr(self, "_registry"):
                await self._registry.stop()
                if self._executions is not None:
                    await self._executions.close()
                self._ending.restore_sigterm()


def _executions(yjs: Yjs) -> ExecutionService | None:
    """What runs the cells of a plugin's documents; None where they cannot be found."""
    from ...execution.service import ExecutionService  # pycrdt comes with the plugin
    from .room_documents import RoomDocuments

    return ExecutionService(RoomDocuments(yjs)) if RoomDocuments.has_rooms(yjs) else None
