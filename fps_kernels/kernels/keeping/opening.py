"""The start of a server's kernels, with those that servers before it have left."""

from __future__ import annotations

import logging

from ...store.model import KernelRow
from ..kernel import Kernel
from ..registry import KernelRegistry
from ..sessions import SessionStore
from .orphan_end import end_orphan
from .restoring import Adopt, End, Restoring
from .stored_keepsake import StoredKeepsake

logger = logging.getLogger(__name__)


async def open_kernels(
    registry: KernelRegistry, sessions: SessionStore, adopt: Adopt | None = None, end: End | None = None
) -> None:
    """Make a registry ready for kernels, and take over what is in its store, if it has one.

    adopt, end: what is done with processes, see restoring.py; by default, none is taken over.
    Raises BadOption, StoreUnreachable.
    """
    keepsake = registry.factory.keepsake

    async def restore() -> None:
        if isinstance(keepsake, StoredKeepsake):
            await Restoring(registry, sessions, keepsake, adopt or _no_kernel, end or _end).restore()

    await registry.open(restore)


async def _no_kernel(row: KernelRow) -> Kernel | None:
    """None: nothing here can take over a process."""
    return None


async def _end(row: KernelRow) -> None:
    if not await end_orphan(row):
        logger.error("kernel %s does not end", row.id)
