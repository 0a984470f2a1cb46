"""The Asphalt component: it takes the configuration and publishes `Kernels`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NoReturn

from asphalt.core import Component, Context, context_teardown
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.frontend import FrontendConfig
from jupyverse_api.kernels import Kernels
from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig
from jupyverse_api.yjs import Yjs

from ...errors import BadOption, FPSKernelsError
from ...kernel_driver.kernelspec import CLASS_TIMEOUT_S, Kernelspecs
from ...kernel_driver.spec_classes import SpecClasses
from ...kernels.connection_folder import check_connection_folder
from ...kernels.external_folder import ExternalKernels, ExternalPolicy
from ...kernels.factory import check_system_for
from ...kernels.keeping.opening import check_keeping, do_nothing, keepsake_of, open_kernels
from ...kernels.launch_environment import compile_pattern, contents_root
from ...kernels.registry import KernelRegistry
from ...serving.logs import sanitize_package
from ...serving.origin import AllowedOrigins
from ...serving.supported_system import check_system
from ...tasks import TaskSet
from .asphalt_host import AsphaltHost
from .config import InvalidConfiguration, KernelsConfig
from .interrupt import InterruptChain
from .page_config import extend_page_config
from .plugin import _Kernels
from .users import Users

logger = logging.getLogger(__name__)

STOP_WATCHING_S = 2
"""How long the watch for external kernels may take to end."""


class KernelsComponent(Component):
    """The kernels component of a Jupyverse.

    options: the options of KernelsConfig.
    """

    def __init__(self, **options: Any) -> None:
        try:
            check_system()
        except BadOption as exc:
            _exit(exc.message)
        try:
            self.config = config = KernelsConfig.parse(options)
            values = config.options()
            compile_pattern(values.kernel_env_pattern)
            check_system_for(values)
            check_keeping(values)
            contents_root(values.root_dir)
            SpecClasses.of(values).check_within(CLASS_TIMEOUT_S)
            if values.connection_dir is not None:
                check_connection_folder(values)
            self._origins = AllowedOrigins.parse(values.allow_origin, values.allow_origin_pat)
        except InvalidConfiguration as exc:
            _exit(exc.message)
        except BadOption as exc:
            _exit(f"kernels.{exc.message}")

    @context_teardown
    async def start(self, ctx: Context) -> AsyncGenerator[None, BaseException | None]:
        sanitize_package()
        config = self.config
        ctx.add_resource(config, types=[KernelsConfig, JupyverseKernelsConfig])
        app = await ctx.request_resource(App)
        auth = await ctx.request_resource(Auth)  # type: ignore[type-abstract]  # resources are found by base class
        frontend = await ctx.request_resource(FrontendConfig)
        yjs = await ctx.request_resource(Yjs) if config.require_yjs else None  # type: ignore[type-abstract]  # same

        base_url = f"/{frontend.base_url.strip('/')}/".replace("//", "/")
        options = config.options()
        classes = SpecClasses.of(options)
        specs = Kernelspecs(options.default_kernel, base_url, options.allowed_kernelspecs, classes)
        try:
            registry = KernelRegistry(options, specs, keepsake=keepsake_of(options))
        except BadOption as exc:
            _exit(f"kernels.{exc.message}")

        interrupt = InterruptChain(registry.stop)
        executions = None
        if yjs is not None:
            # Both need pycrdt, which comes with the Yjs plugin.
            from ...execution.fps_yjs.fps_yjs_documents import FpsYjsDocuments
            from ...execution.service import ExecutionService

            executions = ExecutionService(FpsYjsDocuments(yjs))
            _follow_widgets(registry, yjs)

        def on_first_request() -> None:
            # Teardown runs backwards, and the host's HTTP server, started last, waits without end for
            # requests in flight: those that wait for a kernel must be ended before it. When the first
            # request comes the server is up, so what is added now is torn down before it.
            ctx.add_teardown_callback(registry.stop)
            interrupt.chain()

        host = AsphaltHost(
            base_url, self._origins, Users(auth), on_first_request, answers_at_once=not options.start_answer_s
        )
        extend_page_config({"untracked_message_types": options.untracked_message_types})
        kernels = _Kernels(app, auth, registry, host, executions)
        ctx.add_resource(kernels, types=Kernels)

        try:
            await open_kernels(registry, kernels.sessions, executions.restore if executions else do_nothing)
        except BadOption as exc:
            _exit(f"kernels.{exc.message}")
        except FPSKernelsError as exc:  # the keeper, or the store
            _exit(exc.message)
        external = None
        watchers = TaskSet()
        if config.allow_external_kernels:
            folder = config.external_connection_dir
            policy = ExternalPolicy.of(options)
            external = ExternalKernels(registry, Path(folder) if folder else ExternalKernels.default_folder(), policy)
            watchers.start(external.watch(), name="external kernels")

        yield

        if external is not None:
            external.stop()
            with contextlib.suppress(TimeoutError):  # it is cancelled then
                async with asyncio.timeout(STOP_WATCHING_S):
                    await watchers.join()
            await watchers.close()
        await interrupt.close()
        await registry.stop()
        if executions is not None:
            await executions.close()


def _follow_widgets(registry: KernelRegistry, yjs: Any) -> None:
    """Connect the Yjs plugin's widgets to all kernels, if it has any."""
    widgets = getattr(yjs, "widgets", None)
    if widgets is not None:
        from ...execution.ywidgets import YWidgets

        def follow(kernel_id: str) -> None:
            YWidgets(registry.get(kernel_id).client, widgets)

        registry.watch(follow)


def _exit(message: str) -> NoReturn:
    """End the process with one line on stderr and exit code 1.

    The host would print a traceback for an exception. As it makes components in a task, asyncio would print one for
    SystemExit, too.
    """
    end = SystemExit(message)

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is not end:
            loop.default_exception_handler(context)

    try:
        asyncio.get_running_loop().set_exception_handler(handle)
    except RuntimeError:  # made without a loop, as in tests
        logger.debug("no event loop whose exception handler could be set")
    raise end from None
