"""A kernel of the pool: what it is made of, and whether it can become the one that is asked for."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import KernelStartFailed
from ..kernel_driver.driver import KernelDriver, LifecycleObserver
from ..kernel_driver.process import LaunchOptions

FOLDER = "prewarmed"
"""Below that of the connection files: `jupyter console --existing` must not find a kernel that nobody has yet."""


class Unsuitable(KernelStartFailed):
    """Kernels of this kernelspec cannot be kept: they could not be told apart from new ones, or not moved."""


Stamps = Mapping[str, int | None]
"""Paths with the time of their last change, ns; None: not there."""


@dataclass(eq=False, slots=True)
class _Warm(LifecycleObserver):
    """A kernel of the pool, ready or on its way there. lost: called when it dies. bound: see Report."""

    options: LaunchOptions
    lost: Callable[[_Warm], None]
    driver: KernelDriver = field(init=False)
    ready: asyncio.Task[None] = field(init=False)
    stamps: Stamps = field(default_factory=dict)
    program: str | None = None
    bound: bool = False

    def can_become(self, wanted: LaunchOptions) -> bool:
        return _can_become(self.options, wanted) and not (self.bound and self.options.cwd != wanted.cwd)

    def on_dead(self, reason: str) -> None:
        self.lost(self)


def _remember(warm: _Warm, paths: Iterable[str]) -> None:
    """What it is made of: these, and files of its command, such as a script that sets its environment. Blocks."""
    warm.program = _program(warm)
    words = [*warm.driver.command, warm.program or ""]
    files = [os.path.join(warm.options.cwd, word) for word in words if warm.driver.kernel_id not in word]
    warm.stamps = read_stamps({*paths, *filter(os.path.isfile, files)})


def _program(warm: _Warm) -> str | None:
    """Where the first word of its command is found now. Blocks."""
    return shutil.which(next(iter(warm.driver.command), ""), path=warm.options.env.get("PATH"))


def read_stamps(paths: Iterable[str]) -> Stamps:
    """Blocks."""
    return {path: _stamp(path) for path in paths}


def _stamp(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _can_become(warm: LaunchOptions, wanted: LaunchOptions) -> bool:
    """Whether what differs can be set in a kernel that runs."""
    if (warm.kernel_name, warm.encryption) != (wanted.kernel_name, wanted.encryption):
        return False
    if warm.env != wanted.env or warm.connection_dir != wanted.connection_dir / FOLDER:
        return False
    if warm.extra_env.keys() - wanted.extra_env.keys():
        return False
    new = {name for name, value in wanted.extra_env.items() if warm.extra_env.get(name) != value}
    return all(map(_is_read_late, new))


def _is_read_late(name: str) -> bool:
    """Whether nothing reads an environment variable before the user's code does.

    Not so PYTHON*, LD_*, LANG, OMP_*: kernels that are asked for with others than these are launched with them.
    """
    return name == "JPY_SESSION_NAME" or name.startswith("KERNEL_")
