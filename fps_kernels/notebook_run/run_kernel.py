"""A kernel that a notebook is run on: one of this command's own, which ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FPSKernelsError, KernelspecNotFound, KernelStartFailed
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import KernelDriver
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.observer import Observers
from ..kernel_driver.spec_classes import SpecClasses
from ..kernels.registry import KernelRegistry
from ..options import KernelsOptions


@dataclass(frozen=True, slots=True)
class RunKernel:
    """A kernel that is ready, for one notebook.

    name: of its kernelspec.
    spec: that, as in kernel.json; empty if it is not known.
    interrupt: interrupts what it does. Raises FPSKernelsError.
    kill: ends it at once.
    """

    driver: KernelDriver
    observers: Observers
    name: str
    interrupt: Callable[[], Coroutine[Any, Any, None]]
    kill: Callable[[], Coroutine[Any, Any, None]]
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> KernelClient:
        return self.driver.client

    @property
    def info(self) -> Mapping[str, Any]:
        """What it says of itself, in its kernel_info_reply."""
        return self.client.kernel_info


@contextlib.asynccontextmanager
async def own_kernel(name: str | None, folder: Path, start_timeout_s: float) -> AsyncIterator[RunKernel]:
    """A kernel of this process, which is not restarted when it dies, and is shut down at the end.

    name: of its kernelspec; None for the default one. folder: where it starts.
    Raises KernelStartFailed, KernelspecNotFound with the names that there are; BadOption.
    """
    options = KernelsOptions(prewarm=0, restart_limit=0, root_dir=str(folder), startup_timeout_s=start_timeout_s)
    specs = Kernelspecs(options.default_kernel, "/", [], SpecClasses.of(options))
    registry = KernelRegistry(options, specs)
    try:
        await registry.open()
        try:
            kernel = await registry.start(name, at_once=True)
        except KernelspecNotFound as exc:
            raise NoSuchKernelspec(name or options.default_kernel, sorted(await installed(specs))) from exc
        assert kernel.starting is not None  # since it was started
        await asyncio.wait([kernel.starting], timeout=start_timeout_s)
        if not kernel.starting.done():
            raise KernelStartFailed(f"Kernel {kernel.driver.name} did not answer within {start_timeout_s:g} s")
        kernel.starting.result()
        driver = kernel.driver

        async def kill() -> None:
            await driver.shutdown(now=True)

        yield RunKernel(driver, kernel.observers, driver.name, driver.interrupt, kill, driver.kernelspec)
    finally:
        await registry.stop()


async def installed(specs: Kernelspecs) -> Sequence[str]:
    """The names of the kernelspecs that there are."""
    try:
        return list((await specs.list_all())["kernelspecs"])
    except FPSKernelsError:
        return []


class NoSuchKernelspec(KernelStartFailed):
    """There is no kernelspec of this name; the message lists those that there are."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        listed = f"there are {', '.join(names)}" if names else "none is installed"
        super().__init__(f"No kernelspec is called {name}: {listed}. --kernel names another one")
