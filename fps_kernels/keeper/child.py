"""The process of a kernel, as its parent sees it.

It is launched so that it needs nobody: in a session of its own, without JPY_PARENT_PID, stdin from /dev/null, stdout
and stderr into a file. A pidfd tells its end, also to a keeper that is not its parent because the first one has died.

While the parent has not waited for it, its number is nobody else's. So the parent reads the exit status, ends what is
left of the process group, and only then waits: no signal can reach a stranger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..descriptors import add_reader, open_pidfd, remove_reader
from ..kernel_driver.oom import OomWatch
from ..kernel_driver.reaper import start_time
from ..tasks import TaskSet
from .stderr_file import StderrFile

logger = logging.getLogger(__name__)

REST_GRACE_S = 3.0
"""Seconds between SIGTERM and SIGKILL for what is left of a process group; as of the reaper."""
POLL_S = 0.25
"""Interval between two looks whether a process has ended, where there are no pidfds."""
OOM_SCORE_ADJ = 100
"""What is added to a kernel's badness when memory runs out: Linux should take a kernel, and not its keeper."""
NOT_INHERITED = ("JPY_PARENT_PID", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables that would tie a process to one that may end before it."""


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a process ended.

    code: the exit status, negative for a signal; None if it is not known.
    stderr: the last lines, oldest first. out_of_memory: see ExitStatus.
    """

    code: int | None
    stderr: list[str]
    out_of_memory: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class InheritedProcess:
    """A child of this process that a program before has started: what is needed of a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class Child:
    """A kernel's process.

    popen: the process; None if another keeper was its parent.
    on_exit: called when it has ended, with how.
    on_lines: called with lines that it has written to stderr or stdout, now and then.

    report: how it ended; None while it runs.
    """

    def __init__(
        self,
        pid: int,
        popen: subprocess.Popen[bytes] | InheritedProcess | None,
        stderr: StderrFile | None,
        oom: OomWatch | None,
        on_exit: Callable[[ExitReport], None],
        on_lines: Callable[[list[str]], None] = lambda lines: None,
        report: ExitReport | None = None,
    ) -> None:
        """Watch a process, unless it has ended: then `report` says how.

        Raises ProcessLookupError when one that is not a child has ended.
        """
        self.pid = pid
        self.start_time = start_time(pid)
        self.report = report
        self.ended = asyncio.Event()
        self._popen = popen
        self._stderr = stderr
        self._oom = oom
        self._on_exit = on_exit
        self._on_lines = on_lines
        self._reaped = False
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet()
        self._pidfd = None
        if report is not None:
            self.ended.set()
            return
        self._pidfd = open_pidfd(pid)
        if self._pidfd is not None:
            add_reader(self._loop, self._pidfd, self._on_readable)
        elif popen is not None:
            self._tasks.start(self._poll(), name=f"exit of {pid}")
        else:
            raise ProcessLookupError(pid)

    @classmethod
    async def launch(
        cls,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        stderr_path: Path,
        on_exit: Callable[[ExitReport], None],
        on_lines: Callable[[list[str]], None],
    ) -> Child:
        """Start a process. Raises OSError, ValueError."""
        stderr = StderrFile(stderr_path)
        oom = OomWatch()
        try:
            popen = await asyncio.to_thread(_popen, command, env, cwd, stderr.fd)
        except BaseException:
            stderr.close()
            raise
        return cls(popen.pid, popen, stderr, oom, on_exit, on_lines)

    @classmethod
    def adopt(cls, pid: int, began: str, on_exit: Callable[[ExitReport], None]) -> Child:
        """Watch a process that has lost its parent. Raises ProcessLookupError when it is not there any more.

        began: its start time, see reaper.start_time. Another process may have its number.
        """
        child = cls(pid, None, None, None, on_exit)
        if not began or child.start_time != began:
            child.close()
            raise ProcessLookupError(pid)
        return child

    def state(self) -> dict[str, Any]:
        """What the next program needs to know of it, as plain values."""
        stderr = self._stderr
        return {
            "pid": self.pid,
            "start_time": self.start_time,
            "is_child": self._popen is not None and not self._reaped,
            "report": self.report.as_json() if self.report is not None else None,
            "stderr": None if stderr is None or stderr.fd < 0 else [str(stderr.path), stderr.told],
        }

    @classmethod
    def resume(
        cls, state: Mapping[str, Any], on_exit: Callable[[ExitReport], None], on_lines: Callable[[list[str]], None]
    ) -> Child:
        """Watch a process that the program before has watched. Raises OSError when its stderr cannot be opened."""
        pid, began = state["pid"], state["start_time"]
        popen = InheritedProcess(pid) if state["is_child"] else None
        stderr = StderrFile(Path(state["stderr"][0]), state["stderr"][1]) if state["stderr"] is not None else None
        report = ExitReport(**state["report"]) if state["report"] is not None else None
        if popen is None and report is None and start_time(pid) != began:
            report = ExitReport(None, [], None)  # nobody can tell any more
        child = cls(pid, popen, stderr, OomWatch(), on_exit, on_lines, report)
        child.start_time = began
        if popen is not None and report is not None:
            child._tasks.start(child._end_rest(), name=f"end of {pid}")
        return child

    def hand_over(self, on_exit: Callable[[ExitReport], None], on_lines: Callable[[list[str]], None]) -> None:
        """Tell somebody else of it from now on."""
        self._on_exit, self._on_lines = on_exit, on_lines

    def _on_readable(self) -> None:
        self._close_pidfd()
        self._tasks.start(self._finish(), name=f"end of {self.pid}")

    def _close_pidfd(self) -> None:
        pidfd, self._pidfd = self._pidfd, None
        if pidfd is not None:
            remove_reader(self._loop, pidfd)
            os.close(pidfd)

    async def _poll(self) -> None:
        assert self._popen is not None
        while self._popen.poll() is None:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(POLL_S)
        self._reaped = True
        await self._finish()

    async def _finish(self) -> None:
        code = self._read_code()
        out_of_memory = None
        if code == -signal.SIGKILL and self._oom is not None:
            out_of_memory = await asyncio.to_thread(self._oom.killed, self.pid)
        lines = self._stderr.last_lines() if self._stderr is not None else []
        self._tell_lines(to_the_end=True)
        self.report = ExitReport(code, lines, out_of_memory)
        logger.info("process %d has ended: %s", self.pid, code)
        self.ended.set()
        try:
            self._on_exit(self.report)
        finally:
            await self._end_rest()

    def _read_code(self) -> int | None:
        if self._popen is None:
            return None
        if self._reaped:
            return self._popen.returncode
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    async def _end_rest(self) -> None:
        """End what is left of the process group, and give up the number."""
        if self._popen is None or self._reaped:
            return
        try:
            self._signal_group(signal.SIGTERM)
            await asyncio.sleep(REST_GRACE_S)
        finally:
            self._reap()

    def _reap(self) -> None:
        if self._popen is not None and not self._reaped:
            self._signal_group(signal.SIGKILL)
            self._reaped = True
            self._popen.wait()

    def _signal_group(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    def signal(self, signum: int) -> bool:
        """Send a signal to the process group; returns whether the process runs."""
        if self.report is not None or (self._pidfd is None and self._popen is None):
            return False
        if self._popen is None and start_time(self.pid) != self.start_time:
            return False  # it has ended, which is not noticed yet
        if self._reaped:
            return False
        self._signal_group(signum)
        return True

    async def end(self, grace_s: float) -> None:
        """End the process with SIGTERM, and with SIGKILL when it has not ended within `grace_s` seconds."""
        if self.signal(signal.SIGTERM):
            for patience, signum in ((grace_s, signal.SIGKILL), (1.0, None)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self.ended.wait()
                        return
                if signum is not None:
                    self.signal(signum)

    def _tell_lines(self, *, to_the_end: bool = False) -> None:
        if self._stderr is not None and (lines := self._stderr.new_lines(to_the_end=to_the_end)):
            self._on_lines(lines)

    def look_at_stderr(self) -> None:
        """Tell what is new in the file of stderr, and keep it within its bounds."""
        if self._stderr is not None:
            try:
                self._tell_lines()
                self._stderr.cut()
            except OSError as exc:
                logger.warning("%s cannot be read or cut: %s", self._stderr.path, exc.strerror)

    def rename_stderr(self, path: Path) -> None:
        """Move the file of stderr."""
        if self._stderr is not None:
            try:
                self._stderr.rename(path)
            except OSError as exc:
                logger.warning("%s cannot be moved: %s", self._stderr.path, exc.strerror)

    def close(self, *, now: bool = False) -> None:
        """Let go of the process; it runs on if it has not ended. May be called twice.

        now: whether what is left of a process that has ended is killed at once, and not given time to end.
        """
        self._close_pidfd()
        if self.report is None or now:
            for task in self._tasks:
                task.cancel()
        if self.report is not None and now:
            self._reap()
        if self._stderr is not None:
            self._stderr.close()


def _popen(command: Sequence[str], env: Mapping[str, str], cwd: str | None, output: int) -> subprocess.Popen[bytes]:
    """Start a process. Blocks. Raises OSError, ValueError."""
    popen = subprocess.Popen(
        [os.path.expanduser(word) for word in command],  # as jupyter_client does
        env={name: value for name, value in env.items() if name not in NOT_INHERITED},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    with contextlib.suppress(OSError):
        Path(f"/proc/{popen.pid}/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
    return popen
