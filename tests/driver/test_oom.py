"""What is said of a kernel that Linux killed for want of memory, and of one that somebody else killed."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fps_kernels.kernel_driver import oom

from ..support.drivers import Drivers, Recorder, execute

pytestmark = pytest.mark.usefixtures("bounded")

LIMIT_BYTES = 100 * 1024 * 1024
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@pytest.fixture
def cramped() -> Iterator[Path]:
    """A memory cgroup below our own with 100 MiB; what is killed in it counts. For root, if the machine lets it."""
    group = None
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                group = V1 / path.lstrip("/") / uuid.uuid4().hex
                group.mkdir()
                (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
            elif not controllers and (V2 / "cgroup.controllers").exists():
                group = V2 / path.lstrip("/") / uuid.uuid4().hex
                group.mkdir()
                (group / "memory.max").write_text(str(LIMIT_BYTES))
                (group / "memory.swap.max").write_text("0")
    except OSError as exc:
        if group is not None and group.is_dir():
            group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {exc.strerror}")
    if group is None:
        pytest.skip("no memory cgroups here")
    yield group
    group.rmdir()


async def test_a_kernel_that_was_killed_for_want_of_memory_says_so(
    cramped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Drivers(tmp_path, monkeypatch) as kernels:
        driver = await kernels.start(restart_limit=0)
        told = Recorder(driver)
        (cramped / "cgroup.procs").write_text(str(driver.pid))
        execute(driver.client, "block = b'x' * 300_000_000")
        await told.until("dead")
        assert driver.reason == "The kernel died: killed (SIGKILL), out of memory"


async def test_a_kernel_that_was_killed_otherwise_is_not_said_to_have_been_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if oom._read_counter(oom.VMSTAT) is None:
        pytest.skip("this Linux does not count")
    async with Drivers(tmp_path, monkeypatch) as kernels:
        driver = await kernels.start(restart_limit=0)
        told = Recorder(driver)
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGKILL)
        await told.until("dead")
        assert driver.reason == "The kernel died: killed (SIGKILL)"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            "3,423,11091511224,-;Memory cgroup out of memory: Killed process 809 (python3) total-vm:309536kB",
            (11091.511224, 809),
        ),
        ("3,1,5000000,-,caller=T1;Out of memory: Killed process 12 (R), UID 1000", (5.0, 12)),
        ("4,344,11091507191,-;python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL)", None),
        ("nonsense", None),
        ("3,4;Killed process 12", None),
    ],
)
def test_the_kernel_log_names_who_was_killed_and_when(record: str, found: tuple[float, int] | None) -> None:
    assert oom._parse_record(record) == found
