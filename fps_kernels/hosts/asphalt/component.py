"""The Asphalt component: it takes the configuration and publishes `Kernels`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from asphalt.core import Component, Context, context_teardown
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.frontend import FrontendConfig
from jupyverse_api.kernels import Kernels
from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig
from jupyverse_api.yjs import Yjs

from ...kernels.keeping.opening import do_nothing, open_kernels
from ...serving.logs import sanitize_package
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
from .config import KernelsConfig
from .first_request import FirstRequest
from .interrupt import InterruptChain
from .page_config import extend_page_config, serves_jupyterlab
from .plugin import _Kernels


class KernelsComponent(Component):
    """The kernels component of a Jupyverse.

    options: the options of KernelsConfig.
    """

    def __init__(self, **options: Any) -> None:
        check_this_system()
        with one_line():
            self.config = KernelsConfig.parse(options)
            self._origins = check_options(self.config.options())

    @context_teardown
    async def start(self, ctx: Context) -> AsyncGenerator[None, BaseException | None]:
        sanitize_package()
        config = self.config
        ctx.add_resource(config, types=[KernelsConfig, JupyverseKernelsConfig])
        app = await ctx.request_resource(App)
        auth = await ctx.request_resource(Auth)  # type: ignore[type-abstract]  # resources are found by base class
        frontend = await ctx.request_resource(FrontendConfig)
        yjs = await ctx.request_resource(Yjs) if config.require_yjs else None  # type: ignore[type-abstract]  # same

        base_url = with_slashes(frontend.base_url)
        options = config.options()
        with one_line():
            registry = make_registry(options, base_url)

        interrupt = InterruptChain(registry.stop)
        executions = None
        if yjs is not None:
            # Both need pycrdt, which comes with the Yjs plugin.
            from ...execution.fps_yjs.fps_yjs_documents import FpsYjsDocuments
            from ...execution.service import ExecutionService

            executions = ExecutionService(FpsYjsDocuments(yjs))
            follow_widgets(registry, yjs)

        def on_first_request() -> None:
            # Teardown runs backwards, and the host's HTTP server, started last, waits without end for
            # requests in flight: those that wait for a kernel must be ended before it. When the first
            # request comes the server is up, so what is added now is torn down before it.
            ctx.add_teardown_callback(registry.stop)
            interrupt.chain()

        host = JupyverseHost(
            base_url,
            self._origins,
            Users(auth),
            FirstRequest(on_first_request).note,
            answers_at_once=not options.start_answer_s,
            has_jupyterlab=serves_jupyterlab(),
        )
        extend_page_config({"untracked_message_types": options.untracked_message_types})
        kernels = _Kernels(app, auth, registry, host, executions)
        ctx.add_resource(kernels, types=Kernels)

        with one_line():
            await open_kernels(registry, kernels.sessions, executions.restore if executions else do_nothing)
        external = None
        if config.allow_external_kernels:
            external = ExternalWatch(registry, options, config.external_connection_dir)

        yield

        if external is not None:
            await external.close()
        await interrupt.close()
        await registry.stop()
        if executions is not None:
            await executions.close()
