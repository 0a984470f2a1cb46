"""The end of kernels whose server is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from fps_kernels.kernels.keeping import orphan_end
from fps_kernels.kernels.keeping.orphan_end import end_orphan
from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow

from ..support.waits import until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
PARENT = """
import subprocess, time
child = subprocess.Popen(["sleep", "100"])
print(child.pid, flush=True)
time.sleep(100)
"""


async def start(code: str, *, own_session: bool = True) -> tuple[asyncio.subprocess.Process, bytes, KernelRow]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, start_new_session=own_session
    )
    assert process.stdout is not None
    said = await process.stdout.readline()
    return process, said, KernelRow("k", "python3", process=ProcessMark.of(process.pid))


async def test_what_a_kernel_has_started_ends_with_it() -> None:
    process, said, row = await start(PARENT)
    assert await end_orphan(row)
    await process.wait()
    await until(lambda: not psutil.pid_exists(int(said)) or psutil.Process(int(said)).status() == psutil.STATUS_ZOMBIE)


async def test_one_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphan_end, "TERM_WAIT_S", 0.2)
    process, _, row = await start(STUBBORN)
    assert await end_orphan(row)
    assert await process.wait() == -9


async def test_one_that_leads_no_group_ends_alone() -> None:
    process, _, row = await start("import time; print(flush=True); time.sleep(100)", own_session=False)
    assert await end_orphan(row)
    assert await process.wait() == -15


async def test_another_process_with_the_number_is_left_alone() -> None:
    process, _, row = await start("import time; print(flush=True); time.sleep(100)")
    assert row.process is not None
    for other in (replace(row.process, start_time="1"), replace(row.process, boot_id="x"), None):
        assert await end_orphan(replace(row, process=other))
    assert process.returncode is None
    assert row.process.runs
    process.kill()
    await process.wait()


async def test_this_process_does_not_end_itself() -> None:
    mark = ProcessMark.of(os.getpid())
    assert mark is not None
    assert await end_orphan(KernelRow("k", "python3", process=replace(mark, start_time="0")))
