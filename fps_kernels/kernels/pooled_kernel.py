"""A kernel of the prewarm pool: what it is made of, and whether it can become the one that is asked for."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import KernelDied, KernelStartFailed
from ..kernel_driver.client import KernelClient
from ..kernel_driver.driver import KernelDriver, Prepare
from ..kernel_driver.env_values import SESSION_NAME, variables_in
from ..kernel_driver.kernelspec import Kernelspecs, spec_dict
from ..kernel_driver.launch import LaunchOptions
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.own_connection_file import free_path
from ..kernel_driver.process import LaunchedProcess
from ..options import KernelsOptions
from .ipython_probe import NAME, ProbeFailed, move_expression, parse_answer, parse_report, report_expression

FOLDER = "prewarmed"
"""The folder of pooled kernels' connection files, below that of all others: `jupyter console --existing` must not find
a kernel that is not in use yet."""

REPORT_TIMEOUT_S = 10.0
"""How long a new kernel may take to say what it is made of."""

MOVE_TIMEOUT_S = 2.0
"""How long a kernel may take to move to another folder. After that, a new one is launched instead."""


class NotPoolable(KernelStartFailed):
    """Kernels of this kernelspec cannot be pooled: they could be told apart from new ones, or cannot be moved."""


Mtimes = Mapping[str, int | None]
"""Paths with the time of their last modification, in nanoseconds; None: there is no such file."""


class PoolFactory(Protocol):
    """What makes the kernels of a pool, such as KernelFactory."""

    @property
    def options(self) -> KernelsOptions:
        """The server's configuration."""

    @property
    def specs(self) -> Kernelspecs:
        """Where the kernelspecs are found."""

    def launch_options(self, name: str | None) -> LaunchOptions:
        """What a kernel is launched with that no request has asked for. Blocks.

        name: its kernelspec; None for the default one.
        Raises KernelspecNotFound.
        """

    def make_pooled_driver(self, kernel_id: str, options: LaunchOptions, prepare: Prepare) -> KernelDriver:
        """Make the driver of a kernel that is not in use yet: no heartbeat, and no restart when it dies."""


class PooledKernel(LifecycleObserver):
    """A running kernel that is not in use yet.

    options: what it is launched with. Its connection file must be in FOLDER.
    on_lost: called with this kernel when it dies, or does not start.
    """

    def __init__(self, options: LaunchOptions, factory: PoolFactory, on_lost: Callable[[PooledKernel], None]) -> None:
        self.options = options
        self.driver = factory.make_pooled_driver(str(uuid.uuid4()), options, self._inspect)
        self.driver.observer = self
        self._specs = factory.specs
        self._on_lost = on_lost
        self._mtimes: Mtimes = {}
        self._program: str | None = None
        self._bound = False  # see Report
        self.ready = asyncio.create_task(self.driver.start(), name=f"prewarm {self.name}")

    @property
    def name(self) -> str:
        """The name of its kernelspec."""
        return self.options.kernel_name

    def can_become(self, wanted: LaunchOptions) -> bool:
        """Whether this kernel can still become what a launch with these options would give."""
        if not can_become(self.options, wanted) or (self._bound and self.options.cwd != wanted.cwd):
            return False
        # What the kernelspec makes from a variable has been made already, without its value.
        made_from = variables_in(wanted.spec.env.values() if wanted.spec is not None else ())
        return all(self.options.extra_env.get(name) == wanted.extra_env.get(name) for name in made_from)

    async def hand_over(self, kernel_id: str, options: LaunchOptions) -> LaunchedProcess:
        """Turn the running process into kernel `kernel_id`, as if it had been launched with `options`.

        A kernel that is not ready yet is waited for. Raises FPSKernelsError, ProbeFailed, OSError; the process is
        still this kernel's then, and can only be shut down.
        """
        await asyncio.shield(self.ready)
        if not self.can_become(options):  # what it imports from was not known before it was ready
            raise KernelDied("it imports modules from the folder it was launched in")
        if options.spec is not None and spec_dict(options.spec) != self.driver.kernelspec:  # that of a restart
            raise KernelDied("its kernelspec is another one")
        changed = await self._specs.run(self._what_changed)
        if changed:
            raise KernelDied(f"{changed} has changed since its launch")
        path = free_path(options.connection_dir / f"kernel-{kernel_id}.json")
        move = move_expression(options.cwd, options.extra_env, str(path))
        parse_answer(await evaluate(self.driver.client, move, MOVE_TIMEOUT_S))
        return await self.driver.release(kernel_id, path, options.cwd, options.extra_env.get(SESSION_NAME, ""))

    def on_dead(self, reason: str) -> None:
        self._on_lost(self)

    async def _inspect(self, kernel_name: str, client: KernelClient) -> None:
        """Ask the new kernel what it is made of, and remember it. Raises NotPoolable."""
        if client.kernel_info.get("implementation") != "ipython" or self.driver.pid is None:
            raise NotPoolable("only IPython kernels on this machine can be moved to another folder")
        answer = await evaluate(client, report_expression(), REPORT_TIMEOUT_S)
        try:
            report = parse_report(answer)
        except ProbeFailed as exc:
            raise NotPoolable(f"they cannot be inspected: {exc}") from exc
        if report.startup:
            raise NotPoolable(f"user code runs when they start: {', '.join(report.startup)}")
        self._bound = report.bound
        await asyncio.to_thread(self._remember, report.paths)

    def _remember(self, paths: Iterable[str]) -> None:
        """Remember the state of these files, and of those that the command names. Blocks.

        A command may name a script that sets the environment, for example.
        """
        self._program = self._find_program()
        words = [*self.driver.command, self._program or ""]
        files = [os.path.join(self.options.cwd, word) for word in words if self.driver.kernel_id not in word]
        self._mtimes = read_mtimes({*paths, *filter(os.path.isfile, files)})

    def _what_changed(self) -> str | None:
        """Name something that has changed since the launch, so that a new kernel would differ; None if nothing has.

        Blocks.
        """
        if spec_dict(self._specs.get(self.name)) != self.driver.kernelspec:
            return "its kernelspec"
        if self._find_program() != self._program:
            return "the location of its program"
        mtimes = read_mtimes(self._mtimes)
        return next((Path(path).name for path, mtime in mtimes.items() if mtime != self._mtimes[path]), None)

    def _find_program(self) -> str | None:
        """Where the first word of the command is found now. Blocks."""
        return shutil.which(next(iter(self.driver.command), ""), path=self.options.env.get("PATH"))


async def evaluate(client: KernelClient, expression: str, timeout_s: float) -> Mapping[str, Any]:
    """Have an IPython kernel evaluate an expression in silence, and return the content of its execute_reply."""
    reply = await client.execute(
        "",
        timeout_s=timeout_s,
        grace_s=0,
        at_once=True,
        silent=True,
        store_history=False,
        user_expressions={NAME: expression},
    )
    return reply.content


def can_become(launched: LaunchOptions, wanted: LaunchOptions) -> bool:
    """Whether everything in which two launches differ can be set in a running kernel."""
    if (launched.kernel_name, launched.encryption) != (wanted.kernel_name, wanted.encryption):
        return False
    if launched.env != wanted.env or launched.connection_dir != wanted.connection_dir / FOLDER:
        return False
    if launched.extra_env.keys() - wanted.extra_env.keys():
        return False
    # Nothing reads these variables before the user's code does. PYTHON*, LD_*, LANG and OMP_* are read earlier: kernels
    # that need other values of those have to be launched with them.
    return all(
        name == "JPY_SESSION_NAME" or name.startswith("KERNEL_")
        for name, value in wanted.extra_env.items()
        if launched.extra_env.get(name) != value
    )


def read_mtimes(paths: Iterable[str]) -> Mtimes:
    """Return the paths with the times of their last modification. Blocks."""
    mtimes: dict[str, int | None] = {}
    for path in paths:
        try:
            mtimes[path] = os.stat(path).st_mtime_ns
        except OSError:
            mtimes[path] = None
    return mtimes
