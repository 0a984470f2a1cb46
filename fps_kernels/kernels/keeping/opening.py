"""The start of a server's kernels, with those that servers before it have left."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import BadOption
from ...options import KernelsOptions
from ...state_folder import open_state_folder
from ..kernel import Kernel
from ..launch_environment import contents_root
from ..registry import KernelRegistry
from ..sessions import SessionStore
from .keepsake import Keepsake

if TYPE_CHECKING:
    from .next_server import NextServer, OnKernel

CAN_KEEP = hasattr(os, "geteuid") and all(find_spec(name) for name in ("fcntl", "termios"))
"""Whether this system has what keeps strangers out of a folder, locks, and terminals. Windows does not."""
TOKEN_FILE = "token"
"""A token that a server has made, in the state folder."""


def check_keeping(options: KernelsOptions) -> None:
    """Raises BadOption where kernels cannot outlive their server."""
    if options.keep_kernels != "never" and not CAN_KEEP:
        raise BadOption(f"keep_kernels={options.keep_kernels}: on this system kernels cannot outlive their server")


def keepsake_of(options: KernelsOptions, address: str = "") -> Keepsake:
    """Where the kernels of a server are written down. May block, for a moment.

    address: where the server serves, for people.
    Raises BadOption.
    """
    check_keeping(options)
    if options.keep_kernels == "never":
        return Keepsake()
    from ...store.sqlite_store import FILE, SQLiteStore  # none of this is needed for kernels that are not kept
    from .kernel_keeper import KernelKeeper
    from .stored_keepsake import StoredKeepsake

    folder = open_state_folder(options.state_dir)
    return StoredKeepsake(
        SQLiteStore(folder / FILE),
        str(contents_root(options.root_dir)),
        address,
        stays=options.keep_kernels == "always",
        keeper=KernelKeeper(folder, options.orphan_timeout_s, options.buffer_max_messages, options.buffer_max_bytes),
    )


async def do_nothing(kernel: Kernel) -> None:
    """What is done for a kernel of a server before, if nothing is."""


async def open_kernels(
    registry: KernelRegistry,
    sessions: SessionStore,
    on_kernel: OnKernel = do_nothing,
) -> None:
    """Make a registry ready for kernels, and take over what is in its store, if it has one.

    on_kernel: awaited for each kernel that goes on, before that is connected to.
    Raises BadOption, StoreUnreachable, KeeperUnavailable.
    """
    keepsake = registry.factory.keepsake

    async def restore_own() -> None:
        from .next_server import OwnNextServer
        from .stored_keepsake import StoredKeepsake

        if isinstance(keepsake, StoredKeepsake):
            await restore(OwnNextServer(registry, sessions, keepsake), keepsake, on_kernel)

    await registry.open(None if type(keepsake) is Keepsake else restore_own)


async def restore(server: NextServer, keepsake: Keepsake, on_kernel: OnKernel = do_nothing) -> None:
    """Take over what servers that are gone have left, if anything keeps it.

    keepsake: the server's, which is open.
    on_kernel: awaited for each kernel that goes on, before that is connected to.
    Raises StoreUnreachable.
    """
    from .adoption import Adoption
    from .restoring import Restoring
    from .stored_keepsake import StoredKeepsake

    if isinstance(keepsake, StoredKeepsake) and keepsake.keeper is not None:
        adoption = Adoption(server, keepsake.keeper, on_kernel)
        await Restoring(server, keepsake, adoption.adopt, adoption.end).restore()
        await asyncio.to_thread(keepsake.keeper.restored)
