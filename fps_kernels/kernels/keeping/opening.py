"""The start of a server's kernels, with those that servers before it have left."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from ...errors import BadOption
from ...options import KernelsOptions
from ...state_folder import open_state_folder
from ...store.model import KernelRow
from ..kernel import Kernel
from ..launch_environment import contents_root
from ..registry import KernelRegistry
from ..sessions import SessionStore
from .keepsake import Keepsake, NothingKept
from .orphan_end import end_orphan

if TYPE_CHECKING:
    from .restoring import Adopt, End

logger = logging.getLogger(__name__)

CAN_KEEP = hasattr(os, "geteuid")
"""Whether this system has what keeps strangers out of a folder. Windows does not."""
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
        return NothingKept()
    from ...store.sqlite_store import FILE, SQLiteStore  # SQLite is not needed for kernels that are not kept
    from .stored_keepsake import StoredKeepsake

    store = SQLiteStore(open_state_folder(options.state_dir) / FILE)
    stays = options.keep_kernels == "always"
    return StoredKeepsake(store, str(contents_root(options.root_dir)), address, stays=stays)


async def open_kernels(
    registry: KernelRegistry, sessions: SessionStore, adopt: Adopt | None = None, end: End | None = None
) -> None:
    """Make a registry ready for kernels, and take over what is in its store, if it has one.

    adopt, end: what is done with processes, see restoring.py; by default, none is taken over.
    Raises BadOption, StoreUnreachable.
    """
    keepsake = registry.factory.keepsake

    async def restore() -> None:
        from .restoring import Restoring
        from .stored_keepsake import StoredKeepsake

        if isinstance(keepsake, StoredKeepsake):
            await Restoring(registry, sessions, keepsake, adopt or _no_kernel, end or _end).restore()

    await registry.open(None if isinstance(keepsake, NothingKept) else restore)


async def _no_kernel(row: KernelRow) -> Kernel | None:
    """None: nothing here can take over a process."""
    return None


async def _end(row: KernelRow) -> None:
    if not await end_orphan(row):
        logger.error("kernel %s does not end", row.id)
