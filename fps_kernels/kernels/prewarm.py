"""Kernels that run already: a start takes one, moves it to its folder, and another is launched for the next.

A kernel that is taken differs from a new one in nothing that code in it can see: it has run nothing, and what
cannot be set after the launch is compared. Only IPython kernels on this machine can be told their folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Conflict, FPSKernelsError, KernelDied, KernelStartFailed
from ..kernel_driver.driver import KernelDriver, Prepare
from ..kernel_driver.kernelspec import Kernelspecs, spec_dict
from ..kernel_driver.observer import LifecycleObserver
from ..kernel_driver.process import LaunchedProcess, LaunchOptions
from .ipython_probe import NoAnswer, Report, move_request, parse_answer, parse_report, report_request

logger = logging.getLogger(__name__)

QUIET_S = 1.0
"""After the last start, before another kernel is launched for the next: four at once must not become eight."""
PATIENCE_S = 10.0
"""How long a busy machine is waited for; then the pool is filled all the same."""
REQUEST_TIMEOUT_S = 10.0
MOVE_TIMEOUT_S = 2.0
"""A kernel that has not moved by then is left, and a new one launched."""
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


class WarmKernels:
    """wanted(): how many are kept of each kernelspec, by its name as in Kernelspecs.get; may block.

    launch(name): the options of a request for a kernel that says nothing more; may block.
    make(options, prepare): a driver that does not restart its kernel by itself. room(): how many more kernels
    there may be, None for no limit. busy(): whether kernels are starting now.
    """

    def __init__(
        self,
        specs: Kernelspecs,
        *,
        wanted: Callable[[], Mapping[str, int]],
        launch: Callable[[str], LaunchOptions],
        make: Callable[[LaunchOptions, Prepare], KernelDriver],
        room: Callable[[], int | None],
        busy: Callable[[], bool],
    ) -> None:
        self.quiet_s, self.patience_s = QUIET_S, PATIENCE_S
        self._specs = specs
        self._wanted = wanted
        self._launch = launch
        self._make = make
        self._room = room
        self._busy = busy
        self._kernels: list[_Warm] = []
        self._unsuitable: set[str] = set()
        self._failed: set[str] = set()  # until one of that kernelspec starts for somebody
        self._short = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._last_start = 0.0

    @property
    def ready(self) -> int:
        """How many could be taken now."""
        return sum(warm.ready.done() for warm in self._kernels)

    def start(self) -> None:
        """Fill the pool, in the background, and keep it full."""
        self._short.set()
        self._keeper = asyncio.create_task(self._keep(), name="prewarmed kernels")

    # --- for those who start kernels -------------------------------------------------------------

    async def take(self, kernel_id: str, options: LaunchOptions) -> LaunchedProcess | None:
        """A running process that is what a launch with these options would give; None when there is none.

        One that is on its way already is waited for: two launches at once would both take longer.
        """
        self._last_start = asyncio.get_running_loop().time()
        fit = [warm for warm in self._kernels if warm.can_become(options)]
        warm = min(fit, key=lambda warm: not warm.ready.done(), default=None)
        if warm is not None:
            self._kernels.remove(warm)
        self.make_room()
        if warm is None:
            return None
        try:
            return await self._hand_over(warm, kernel_id, options)
        except (FPSKernelsError, NoAnswer, OSError) as exc:
            logger.warning("kernel %s: no prewarmed one for it, a new one is launched: %s", kernel_id, exc)
            self._end(warm)
            return None
        except BaseException:
            self._end(warm)
            raise

    def started(self, kernel_name: str) -> None:
        """A kernel has been launched for somebody, and answers."""
        self._failed.discard(kernel_name)
        self._short.set()

    def make_room(self) -> None:
        """Those that are wanted by somebody go before those that may be; called when the room has changed."""
        room = self._room()
        while room is not None and len(self._kernels) > room:
            self._end(self._kernels.pop())
        self._short.set()

    async def close(self) -> None:
        """End all of them, also those that are given back meanwhile. May be called twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        while self._kernels:
            self._end(self._kernels.pop())
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    # --- handing over ----------------------------------------------------------------------------

    async def _hand_over(self, warm: _Warm, kernel_id: str, options: LaunchOptions) -> LaunchedProcess:
        """Raises FPSKernelsError, NoAnswer, OSError; whoever calls ends the kernel then."""
        await asyncio.shield(warm.ready)
        if not warm.can_become(options):  # it has said so only now
            raise KernelDied("it imports from the folder that it was launched in")
        changed = await asyncio.to_thread(self._what_changed, warm)
        if changed:
            raise KernelDied(f"{changed} has changed since its launch")
        path = options.connection_dir / f"kernel-{kernel_id}.json"
        reply = await warm.driver.client.request(
            "shell",
            "execute_request",
            move_request(options.cwd, options.extra_env, str(path)),
            timeout_s=MOVE_TIMEOUT_S,
        )
        parse_answer(reply.content)
        process = await warm.driver.release(kernel_id, path, options.cwd)
        logger.info("kernel %s is a prewarmed one", kernel_id)
        return process

    def _what_changed(self, warm: _Warm) -> str | None:
        """What a new kernel would be made of otherwise than this one. Blocks."""
        if spec_dict(self._specs.get(warm.driver.name)) != warm.driver.kernelspec:
            return "its kernelspec"
        if _program(warm) != warm.program:
            return "where its program is found"
        stamps = read_stamps(warm.stamps)
        return next((Path(path).name for path, stamp in stamps.items() if stamp != warm.stamps[path]), None)

    # --- keeping the pool full -------------------------------------------------------------------

    async def _keep(self) -> None:
        first = True
        while True:
            await self._short.wait()
            self._short.clear()
            await self._wait_for_quiet(heed_load=not first)  # at the start nobody's work is the load
            first = False
            try:
                wanted = await asyncio.to_thread(self._wanted)
                await self._end_outdated(wanted)
                name = self._missing(wanted)
                if name is not None:
                    options = await asyncio.to_thread(self._launch, name)
                    if self._missing(wanted) == name:  # somebody may have come meanwhile, and there is no room
                        await self._add(options)
                    self._short.set()  # perhaps there are more
            except Exception:  # the pool must not end with one kernel
                logger.exception("no kernel could be made ready")

    async def _end_outdated(self, wanted: Mapping[str, int]) -> None:
        """Those that nobody will ever take: the server's environment has changed, or the kernelspec has gone."""
        names = {warm.driver.name for warm in self._kernels} & wanted.keys()
        launches = {name: await asyncio.to_thread(self._launch, name) for name in names}
        for warm in [warm for warm in self._kernels if warm.options != launches.get(warm.driver.name)]:
            self._kernels.remove(warm)
            self._end(warm)

    async def _wait_for_quiet(self, *, heed_load: bool) -> None:
        """Until no kernel starts and the machine has nothing better to do, but not for ever."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_s
        while True:
            quiet_at = self._last_start + self.quiet_s
            await asyncio.sleep(max(self.quiet_s / 2, quiet_at - loop.time()))
            now = loop.time()
            if now >= deadline or (now >= quiet_at and not self._busy() and (_is_idle() or not heed_load)):
                return

    def _missing(self, wanted: Mapping[str, int]) -> str | None:
        """A kernelspec of which there are fewer than wanted."""
        room = self._room()
        if room is not None and len(self._kernels) >= room:
            return None
        there = [warm.driver.name for warm in self._kernels]
        for name, count in wanted.items():
            if name not in self._unsuitable | self._failed and there.count(name) < count:
                return name
        return None

    async def _add(self, options: LaunchOptions) -> None:
        name = options.kernel_name
        warm = _Warm(options, self._lose)
        warm.driver = self._make(options, lambda _name, _client: self._inspect(warm))
        warm.driver.observer = warm
        warm.ready = asyncio.create_task(warm.driver.start(), name=f"prewarm {name}")
        self._kernels.append(warm)
        try:
            await asyncio.shield(warm.ready)
            logger.info("a kernel of %s is ready for whoever wants one", name)
        except Conflict:
            logger.debug("a kernel of %s was ended before it was ready", name)  # by us: no fault of the kernelspec
        except Unsuitable as exc:
            self._unsuitable.add(name)
            logger.info("kernels of %s are not kept ready: %s", name, exc.message)
        except FPSKernelsError as exc:
            self._failed.add(name)
            logger.warning("kernels of %s are not kept ready, until one has started: %s", name, exc.message)

    async def _inspect(self, warm: _Warm) -> None:
        """Raises Unsuitable."""
        client = warm.driver.client
        if client.kernel_info.get("implementation") != "ipython" or warm.driver.pid is None:
            raise Unsuitable("they are not IPython's on this machine, and cannot be told their folder")
        reply = await client.request(
            "shell", "execute_request", report_request(), timeout_s=REQUEST_TIMEOUT_S, at_once=True
        )
        try:
            report: Report = parse_report(reply.content)
        except NoAnswer as exc:
            raise Unsuitable(f"they do not say what they are made of: {exc}") from exc
        if report.startup:
            raise Unsuitable(f"code of the user's runs at their start: {', '.join(report.startup)}")
        warm.bound = report.bound
        await asyncio.to_thread(_remember, warm, report.paths)

    def _lose(self, warm: _Warm) -> None:
        """It died, or never came to life; not by our doing."""
        if warm in self._kernels:
            self._kernels.remove(warm)
            self._failed.add(warm.driver.name)
            self._end(warm)

    def _end(self, warm: _Warm) -> None:
        task = asyncio.create_task(warm.driver.shutdown(), name=f"end of prewarmed {warm.driver.kernel_id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        warm.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # seen


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


def _is_idle() -> bool:
    """Whether a processor has nothing to do; True where nobody can tell."""
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return True
