"""The command `fps-kernels kernels`: which kernels are kept, where they run, and whose they are."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from ..log_text import escape
from ..state_folder import STATE_DIR_HELP
from .kept_kernels import KeptKernel, kept_kernels, opened_store

HEADER = ("KERNEL", "KERNELSPEC", "STATE", "PID", "SINCE", "NOTEBOOK", "SERVER")


def main(argv: Sequence[str]) -> None:
    """Print a table of the kernels that are kept. Raises BadOption, StoreUnreachable."""
    kernels = asyncio.run(_read(kernels_parser().parse_args(argv).state_dir))
    print("\n".join(table([HEADER, *map(line_of, kernels)])) if kernels else "No kernels are kept")


def kernels_parser() -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser("fps-kernels kernels", description="List the kernels that outlive their server.")
    parser.add_argument("--state-dir", metavar="FOLDER", help=STATE_DIR_HELP)
    return parser


async def _read(state_dir: str | None) -> list[KeptKernel]:
    async with opened_store(state_dir) as store:
        return [] if store is None else await kept_kernels(store)


def line_of(kernel: KeptKernel) -> tuple[str, ...]:
    """What the table shows of a kernel."""
    row, server = kernel.row, kernel.server
    return (
        row.id,
        row.name,
        kernel.state,
        "-" if row.process is None else str(row.process.pid),
        f"{row.created_at[:19]}Z" if row.created_at else "-",
        ", ".join(kernel.notebooks) or "-",
        "none" if server is None or server.process is None else f"pid {server.process.pid} {server.address}".rstrip(),
    )


def table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of words, in columns that are as wide as they must be. Names cannot forge lines."""
    cells = [[escape(word) for word in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in cells]
