"""The command `fps-kernels stop`: it ends kernels that no server has any more."""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import Sequence

from ..errors import BadOption
from ..keeper.keeper_folder import KeeperFolder
from ..kernels.keeping.opening import CAN_KEEP
from ..kernels.keeping.orphan_end import end_orphan
from ..log_text import escape
from ..state_folder import STATE_DIR_HELP
from ..store.sqlite_store import SQLiteStore
from .kept_kernels import KeptKernel, kept_kernels, opened_store


def main(argv: Sequence[str]) -> None:
    """End kernels, and say so of each. The exit code is 1 if one has not ended. Raises BadOption, StoreUnreachable."""
    parser = stop_parser()
    options = parser.parse_args(argv)
    if options.all == bool(options.kernel):
        parser.error("name kernels, or --all")
    if not asyncio.run(_stop(options.state_dir, options.kernel)):
        sys.exit(1)


def stop_parser() -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser(
        "fps-kernels stop", description="End kernels whose server is gone. `fps-kernels kernels` lists them."
    )
    parser.add_argument("kernel", nargs="*", help="id of a kernel, or the beginning of one")
    parser.add_argument("--all", action="store_true", help="end all kernels whose server is gone")
    parser.add_argument("--state-dir", metavar="FOLDER", help=STATE_DIR_HELP)
    return parser


async def _stop(state_dir: str | None, names: Sequence[str]) -> bool:
    """Whether all that were named have ended; no names: all whose server is gone."""
    async with opened_store(state_dir) as store:
        kernels = [] if store is None else await kept_kernels(store)
        chosen = choose(kernels, names)
        if store is None or not chosen:
            print("There is no kernel whose server is gone")
            return True
        return all(await asyncio.gather(*(_end(store, kernel) for kernel in chosen)))


def choose(kernels: Sequence[KeptKernel], names: Sequence[str]) -> list[KeptKernel]:
    """The kernels that are named by their ids, or the beginnings of these; without names, those without a server.

    Raises BadOption, before anything is ended.
    """
    if not names:
        return [one for one in kernels if one.server is None]
    chosen: dict[str, KeptKernel] = {}
    for name in names:
        found = [one for one in kernels if one.row.id == name]
        found = found or [one for one in kernels if name and one.row.id.startswith(name)]
        if len(found) != 1:
            raise BadOption(f"{name}: {'several kernels have' if found else 'no kernel that is kept has'} such an id")
        [kernel] = found
        if kernel.server is not None and kernel.server.process is not None:
            raise BadOption(
                f"{kernel.row.id}: its server, with pid {kernel.server.process.pid}, runs; shut the kernel down there"
            )
        chosen[kernel.row.id] = kernel
    return list(chosen.values())


async def _end(store: SQLiteStore, kernel: KeptKernel) -> bool:
    row = kernel.row
    if not await store.claim(row.id, row.replica, f"stop-{uuid.uuid4().hex}"):  # no server takes it over meanwhile
        print(f"{escape(row.id)} has got a server just now", file=sys.stderr)
        return False
    if not await end_orphan(row):
        print(f"{escape(row.id)} does not end", file=sys.stderr)
        return False
    if CAN_KEEP:
        from ..kept.keeper_command import forget_in

        await forget_in(KeeperFolder(store.path.parent), row.id)
    await store.put_kernels([], [row.id])
    print(f"{escape(row.id)} has ended")
    return True
