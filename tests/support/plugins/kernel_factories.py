"""A module for today's Jupyverse: factories of kernels for some kernelspecs, well-behaved and not."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio import TASK_STATUS_IGNORED, Event
from anyio.abc import TaskStatus
from fps import Module
from fps_kernel_subprocess.kernel_subprocess import KernelSubprocess
from jupyverse_kernel import Kernel, KernelFactory
from jupyverse_kernels import Kernels


class Raising(Kernel):
    """Cannot be made."""

    def __init__(self, **options: Any) -> None:
        raise RuntimeError("no worker for /srv/secret/folder/kernel.json")

    async def start(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None: ...

    async def stop(self) -> None: ...

    async def interrupt(self) -> None: ...


class Silent(Kernel):
    """Runs, and never answers."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._end = Event()

    async def start(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await self._end.wait()

    async def stop(self) -> None:
        self._end.set()

    async def interrupt(self) -> None: ...


class Deaf(Silent):
    """Does not even end when it is told to."""

    async def stop(self) -> None: ...


class Failing(Silent):
    """Fails as soon as it is started."""

    async def start(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        raise RuntimeError("the worker is gone")


class KernelFactoriesModule(Module):
    async def prepare(self) -> None:
        kernels = await self.get(Kernels)  # type: ignore[type-abstract]
        # The tiny kernel, as a subprocess of the factory that Jupyverse has for its own kernels.
        subprocess: Any = partial(KernelSubprocess, True)
        factories = {"streamed": subprocess, "raising": Raising, "silent": Silent, "deaf": Deaf, "failing": Failing}
        for name, factory in factories.items():
            kernels.register_kernel_factory(name, KernelFactory(factory))
