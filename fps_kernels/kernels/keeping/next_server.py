"""A server that takes over what servers before it have left: which host it is makes a difference only here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from ...store.model import KernelRow, SessionRow
from ..kernel import Kernel
from .found_kernel import folder_of, found_kernel, launch_options_of
from .stored_keepsake import StoredKeepsake

if TYPE_CHECKING:
    from ...kept.kept_process import KeptProcess
    from ..registry import KernelRegistry
    from ..sessions import SessionStore
    from .kernel_keeper import KernelKeeper

OnKernel = Callable[[Kernel], Awaitable[None]]
"""on_kernel(kernel): awaited for a kernel of a server before this one that goes on, before that is connected to."""


class NextServer(Protocol):
    """Where kernels and sessions are put; nothing is served from there yet."""

    def restarts(self, row: KernelRow) -> bool:
        """Whether a kernel is restarted when it has died."""

    async def process_of(self, row: KernelRow, keeper: KernelKeeper) -> KeptProcess | None:
        """See KernelKeeper.process_of."""

    def make(self, row: KernelRow, process: KeptProcess | None) -> Kernel:
        """A kernel of a row, which is not among the others yet.

        process: what runs already; None if it has to be launched.
        """

    def add(self, kernel: Kernel) -> None:
        """Take in a kernel that `make` has returned, and begin its start unless that has begun."""

    async def restore_session(self, row: SessionRow) -> None:
        """Take in a session, whose kernel is there."""


class OwnNextServer:
    """A server with a registry. A `NextServer`.

    registry, sessions: where kernels and sessions are put. keepsake: the registry's.
    """

    def __init__(self, registry: KernelRegistry, sessions: SessionStore, keepsake: StoredKeepsake) -> None:
        self._registry = registry
        self._sessions = sessions
        self._keepsake = keepsake

    def restarts(self, row: KernelRow) -> bool:
        return bool(self._registry.factory.options.restart_limit)

    async def process_of(self, row: KernelRow, keeper: KernelKeeper) -> KeptProcess | None:
        return await keeper.process_of(row)

    def make(self, row: KernelRow, process: KeptProcess | None) -> Kernel:
        factory, pool = self._registry.factory, self._registry.prewarmed
        launcher = factory.launcher(launch_options_of(row, factory), pool, folder_of(row, factory), adopted=process)
        return found_kernel(row, launcher, factory, self._keepsake, runs=process is not None)

    def add(self, kernel: Kernel) -> None:
        self._registry.add(kernel)

    async def restore_session(self, row: SessionRow) -> None:
        self._sessions.restore(row)
