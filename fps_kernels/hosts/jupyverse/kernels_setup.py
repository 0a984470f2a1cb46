"""What either generation of Jupyverse does to get its kernels: it checks the options, and opens the registry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from ...errors import BadOption, FPSKernelsError
from ...kernel_driver.kernelspec import CLASS_TIMEOUT_S, Kernelspecs
from ...kernel_driver.spec_classes import SpecClasses
from ...kernels.connection_folder import check_connection_folder
from ...kernels.external_folder import ExternalKernels, ExternalPolicy
from ...kernels.factory import check_system_for
from ...kernels.keeping.opening import check_keeping, keepsake_of
from ...kernels.launch_environment import compile_pattern, contents_root
from ...kernels.registry import KernelRegistry
from ...options import KernelsOptions
from ...serving.origin import AllowedOrigins
from ...serving.supported_system import check_system
from ...tasks import TaskSet
from .configuration import InvalidConfiguration

logger = logging.getLogger(__name__)

STOP_WATCHING_S = 2
"""How long the watch for external kernels may take to end."""


def check_options(options: KernelsOptions) -> AllowedOrigins:
    """Check what can be known before a server starts; returns whose pages may use it. Raises BadOption."""
    compile_pattern(options.kernel_env_pattern)
    check_system_for(options)
    check_keeping(options)
    contents_root(options.root_dir)
    SpecClasses.of(options).check_within(CLASS_TIMEOUT_S)
    if options.connection_dir is not None:
        check_connection_folder(options)
    return AllowedOrigins.parse(options.allow_origin, options.allow_origin_pat)


def make_registry(options: KernelsOptions, base_url: str) -> KernelRegistry:
    """Raises BadOption."""
    specs = Kernelspecs(options.default_kernel, base_url, options.allowed_kernelspecs, SpecClasses.of(options))
    return KernelRegistry(options, specs, keepsake=keepsake_of(options))


def with_slashes(base_url: str) -> str:
    """A base URL as a `Host` has it."""
    return f"/{base_url.strip('/')}/".replace("//", "/")


def follow_widgets(registry: KernelRegistry, yjs: Any) -> None:
    """Connect the Yjs plugin's widgets to all kernels, if it has any."""
    widgets = getattr(yjs, "widgets", None)
    if widgets is not None:
        from ...execution.ywidgets import YWidgets

        def follow(kernel_id: str) -> None:
            YWidgets(registry.get(kernel_id).client, widgets)

        registry.watch(follow)


class ExternalWatch:
    """The watch for connection files of kernels that were started elsewhere.

    folder: where to look; None for the folder in Jupyter's runtime folder.
    """

    def __init__(self, registry: KernelRegistry, options: KernelsOptions, folder: str | None) -> None:
        path = Path(folder) if folder else ExternalKernels.default_folder()
        self._kernels = ExternalKernels(registry, path, ExternalPolicy.of(options))
        self._tasks = TaskSet()
        self._tasks.start(self._kernels.watch(), name="external kernels")

    async def close(self) -> None:
        self._kernels.stop()
        with contextlib.suppress(TimeoutError):  # it is cancelled then
            async with asyncio.timeout(STOP_WATCHING_S):
                await self._tasks.join()
        await self._tasks.close()


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Have the process end with one line that names what is wrong with the system, an option, or what is kept."""
    try:
        yield
    except InvalidConfiguration as exc:
        end_with(exc.message)
    except BadOption as exc:
        end_with(f"kernels.{exc.message}")
    except FPSKernelsError as exc:  # the keeper, or the store
        end_with(exc.message)


def check_this_system() -> None:
    """Have the process end with one line where kernels cannot run."""
    try:
        check_system()
    except BadOption as exc:
        end_with(exc.message)


def end_with(message: str) -> NoReturn:
    """End the process with one line on stderr and exit code 1.

    The host would print a traceback for an exception. As it runs components and modules in tasks, asyncio would print
    one for SystemExit, too, and for the groups that anyio makes of it.
    """
    end = SystemExit(message)

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        others = exc.split(lambda one: one is end)[1] if isinstance(exc, BaseExceptionGroup) else exc
        if exc is None or others not in (None, end):
            loop.default_exception_handler(context)

    try:
        asyncio.get_running_loop().set_exception_handler(handle)
    except RuntimeError:  # made without a loop, as in tests
        logger.debug("no event loop whose exception handler could be set")
    raise end from None
