"""Kernels that are made from what a server before this one wrote down of them."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...kernel_driver.client import KernelClient
from ...kernel_driver.launch import LaunchOptions
from ...kernel_driver.launcher import Launcher
from ...kernel_driver.state import READY, ExecutionState
from ...store.model import KernelRow
from ..factory import KernelFactory
from ..kernel import Kernel
from ..kernel_folder import KernelFolder
from .stored_keepsake import StoredKeepsake
from .verdict import was_ready

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec


def found_kernel(
    row: KernelRow, launcher: Launcher, factory: KernelFactory, keepsake: StoredKeepsake, *, runs: bool = True
) -> Kernel:
    """A kernel with the id, the last state and the folder of a row, which is not in a registry yet.

    launcher: where its processes come from.
    runs: whether the launcher's first `take` gives the process that runs already. It is not prepared again, unless it
      was never ready.
    """
    folder = folder_of(row, factory)
    recorded = keepsake.recorded(launcher, row, factory.connection_folder.path, folder, runs=runs)

    async def prepare(kernel_name: str, client: KernelClient) -> None:
        if not (recorded.took_over and was_ready(row)):
            await factory.policy.prepare(kernel_name, client)

    kernel = factory.make_kernel_of(row.id, recorded, folder, row.launched.startup_timeout_s, prepare)
    if factory.keepsake.keeper is not None:
        factory.keepsake.keeper.listen(kernel, launcher)
    restore_state(kernel, row)
    return kernel


def restore_state(kernel: Kernel, row: KernelRow) -> None:
    """Show a kernel that has not begun to start as it was last seen."""
    state = kernel.client.state
    with contextlib.suppress(ValueError):  # what is written there is for people only
        last_state = ExecutionState(row.execution_state)
        if last_state in READY:  # requests wait for its answer all the same
            state.change(last_state)
        state.last_activity = datetime.fromisoformat(row.last_activity)


def launch_options_of(row: KernelRow, factory: KernelFactory) -> LaunchOptions:
    """What another process of a kernel is launched with: what its request asked for, in this server's environment."""
    launched = row.launched
    return LaunchOptions(
        kernel_name=row.name,
        cwd=launched.cwd,
        env=factory.policy.environment(),
        extra_env=launched.extra_env,
        connection_dir=factory.connection_folder.path,
        encryption=launched.encryption,
        transport=launched.transport,
        spec=spec_of(row),
    )


def folder_of(row: KernelRow, factory: KernelFactory) -> KernelFolder:
    """Where other processes of a kernel start."""
    launched = row.launched
    bounds = factory.root if factory.options.root_dir else None
    environ = dict(launched.environ)
    return KernelFolder(Path(launched.cwd), factory.policy, factory.root, launched.path, environ, bounds)


def spec_of(row: KernelRow) -> KernelSpec | None:
    """The kernelspec as a kernel was launched by it; None if it has to be looked for."""
    if not row.launched.kernelspec:
        return None
    from jupyter_client.kernelspec import KernelSpec

    return KernelSpec(**row.launched.kernelspec)
