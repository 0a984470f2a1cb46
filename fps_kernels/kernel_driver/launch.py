"""A launch: what a manager of jupyter_client prepares, and how a process comes of that.

The process itself is begun by whoever will be its parent: this process, by way of a provisioner, or a keeper.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from ..descriptors import DESCRIPTORS, need_descriptors
from ..errors import FPSKernelsError, KernelStartFailed
from ..ledger import Ledger
from .connection_file import MAX_SOCKET_PATH_BYTES, new_socket_prefix, socket_path_bytes
from .env_values import for_remote, overriding
from .launch_trouble import leave_removed_folder, why_not_started
from .own_connection_file import free_path, manager_class

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

    from .kernelspec import Kernelspecs

logger = logging.getLogger(__name__)

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The options of a launch.

    kernel_name: the name of the kernelspec.
    cwd: the working directory.
    env: the environment, over which the kernelspec's own takes precedence.
    extra_env: environment variables that take precedence over both; the kernelspec's may be made from them.
    connection_dir: the folder for the connection file.
    encryption: whether connections are encrypted by CurveZMQ: `auto`, `required` or `disabled`.
    transport: how to talk to the kernel: `tcp` or `ipc`.
    spec: the kernelspec as it was found; None if it has to be looked for.
    holds_ports: whether ports are held until the kernel listens there, see held_ports.
    """

    kernel_name: str
    cwd: str
    env: Mapping[str, str] = field(repr=False)
    extra_env: Mapping[str, str] = field(repr=False)
    connection_dir: Path
    encryption: str = "auto"
    transport: str = "tcp"
    spec: KernelSpec | None = field(default=None, repr=False, compare=False)
    holds_ports: bool = field(default=True, compare=False)


async def launch_by(
    kernel_id: str,
    options: LaunchOptions,
    specs: Kernelspecs,
    ledger: Ledger | None,
    begin: Callable[[str, AsyncKernelManager, list[str], dict[str, Any]], Awaitable[P]],
) -> P:
    """Prepare a process, and have it begun by `begin(kernel_id, manager, command, launch options)`.

    ledger: where the connection file is written down.
    Raises KernelStartFailed when it cannot be started at all; nothing is left behind then.
    """
    try:
        spec = options.spec or await specs.find(options.kernel_name)
    except FPSKernelsError as exc:
        raise KernelStartFailed(f"Kernel {options.kernel_name} could not be started: {exc.message}") from exc
    encryption = options.encryption
    if encryption == "auto" and not zmq.has("curve"):
        encryption = "disabled"
    manager: AsyncKernelManager | None = None
    try:
        manager = (await asyncio.to_thread(manager_class))(
            kernel_name=options.kernel_name,
            kernel_spec_manager=specs.manager,
            config=specs.classes.provisioner_config(),
            # Provisioners that do not write the file by way of the manager see a name that is free.
            connection_file=str(free_path(options.connection_dir / f"kernel-{kernel_id}.json")),
        )
        manager.kernel_id = kernel_id
        manager.ledger = ledger  # type: ignore[attr-defined]  # our class
        manager.holds_ports = options.holds_ports  # type: ignore[attr-defined]
        manager._kernel_spec = spec  # it is not looked for again: that may take long, and it may be gone
        if options.transport == "ipc":
            manager.transport, manager.ip = "ipc", _socket_prefix(options.connection_dir)
        need_descriptors(DESCRIPTORS)
        options.connection_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        leave_removed_folder()
        # The provisioner makes the kernelspec's env from this, and the connection file.
        given = options.extra_env if specs.classes.is_local(spec) else for_remote(options.extra_env)
        command, kwargs = await manager.pre_start_kernel(
            cwd=options.cwd,
            env={**options.env, **given},
            transport_encryption=encryption,
        )
        provisioner = manager.provisioner
        assert provisioner is not None
        # It has put the kernelspec's env over ours; extra_env takes precedence over both.
        requested = options.extra_env if is_local(provisioner) else for_remote(options.extra_env)
        kwargs["env"].update(overriding(requested, kwargs["env"], spec.env))
        return await begin(kernel_id, manager, command, kwargs)
    except BaseException as exc:
        if manager is not None:
            await end_launch(manager)
            await clean_up(manager)
        if isinstance(exc, Exception):
            raise KernelStartFailed(why_not_started(options.kernel_name, options.cwd, exc)) from exc
        raise


def is_local(provisioner: KernelProvisionerBase) -> bool:
    """Whether a provisioner launches processes on this machine."""
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    return isinstance(provisioner, LocalProvisioner)


def _socket_prefix(folder: Path) -> str:
    """Raises KernelStartFailed when the paths of sockets in the folder are too long."""
    if (size := socket_path_bytes(folder)) > MAX_SOCKET_PATH_BYTES:
        limit = f"more than the {MAX_SOCKET_PATH_BYTES} that are possible"
        raise KernelStartFailed(f"the paths of its ipc sockets would have {size} bytes, {limit}")
    return new_socket_prefix(folder)


async def end_launch(manager: AsyncKernelManager) -> None:
    """End the process of a launch that failed half-way, if there is one."""
    provisioner = manager.provisioner
    if provisioner is not None and provisioner.has_process:
        await provisioner.kill()
        if is_local(provisioner):
            await provisioner.wait()


async def clean_up(manager: AsyncKernelManager) -> None:
    """Give back what a manager and its provisioner hold: connection file, ports."""
    manager.cleanup_connection_file()
    manager.cleanup_ipc_files()
    if manager.provisioner is not None:
        try:
            await manager.provisioner.cleanup(restart=False)
        except Exception as exc:  # a kernel that was never launched has no ports to give back
            logger.debug("cleaning up after a kernel: %r", exc)
