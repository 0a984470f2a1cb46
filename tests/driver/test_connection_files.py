"""Connection files that are there already: they are not replaced, and not deleted at the end."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import uuid
from pathlib import Path

import pytest

from fps_kernels.errors import KernelStartFailed
from fps_kernels.kernel_driver.connection_file import ConnectionInfo
from fps_kernels.kernel_driver.driver import KernelDriver

from ..support.drivers import Drivers, Recorder, execute, run
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

THEIRS = '{"key": "theirs"}'


def named(kernels: Drivers, kernel_id: str) -> Path:
    kernels.connection_dir.mkdir(mode=0o700, exist_ok=True)
    return kernels.connection_dir / f"kernel-{kernel_id}.json"


def others(kernels: Drivers, path: Path) -> list[Path]:
    return [one for one in kernels.connection_dir.iterdir() if one != path]


def occupy(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text(THEIRS)
        case "dangling link":
            path.symlink_to(path.parent.parent / "nowhere")
        case "link":
            (path.parent.parent / "elsewhere").write_text(THEIRS)
            path.symlink_to(path.parent.parent / "elsewhere")
        case "FIFO":
            os.mkfifo(path)


def identity(path: Path) -> tuple[int, ...]:
    """What tells a file from another one, and from itself when it is written to; not when it was read."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "FIFO"])
async def test_a_chosen_id_replaces_no_file(kernels: Drivers, kind: str) -> None:
    kernel_id = str(uuid.uuid4())
    path = named(kernels, kernel_id)
    occupy(path, kind)
    before = identity(path)
    driver = await kernels.start(kernel_id=kernel_id)
    assert driver.kernel_id == kernel_id
    [own] = others(kernels, path)
    assert own.name.startswith(f"kernel-{kernel_id}-")
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert await run(driver.client, "stream('alive')") == "alive"
    await driver.restart()
    assert len(others(kernels, path)) == 1
    assert await run(driver.client, "stream('alive')") == "alive"
    await driver.shutdown()
    assert others(kernels, path) == []
    assert identity(path) == before
    assert not (kernels.connection_dir.parent / "nowhere").exists()
    path.unlink()


async def test_the_other_kernel_of_that_id_can_still_be_connected_to(kernels: Drivers) -> None:
    """As two servers of one user, whose folder it is."""
    first = await kernels.start(kernel_id="the-same")
    path = kernels.connection_file(first)
    before = path.read_bytes()
    second = await kernels.start(kernel_id="the-same")
    await second.shutdown()
    assert path.read_bytes() == before
    assert await run(first.client, "stream('alive')") == "alive"


async def test_of_many_at_once_each_has_a_file_of_its_own(kernels: Drivers) -> None:
    drivers = await asyncio.gather(*(kernels.start(kernel_id="the-same") for _ in range(4)))
    files = list(kernels.connection_dir.iterdir())
    infos = [ConnectionInfo.from_file(path) for path in files]
    assert len(files) == len({info.key for info in infos}) == 4
    assert kernels.connection_file(drivers[0]) in files
    await asyncio.gather(*(driver.shutdown(now=True) for driver in drivers))
    assert list(kernels.connection_dir.iterdir()) == []


async def test_a_restart_has_the_name_again(kernels: Drivers) -> None:
    driver = await kernels.start()
    before = ConnectionInfo.from_file(kernels.connection_file(driver))
    await driver.restart()
    assert list(kernels.connection_dir.iterdir()) == [kernels.connection_file(driver)]
    assert ConnectionInfo.from_file(kernels.connection_file(driver)) != before


async def test_a_death_leaves_no_file_and_takes_no_other(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    execute(driver.client, "import os; os._exit(1)")
    await told.until("restarting")
    await until(lambda: driver.client.execution_state == "idle")
    assert list(kernels.connection_dir.iterdir()) == [kernels.connection_file(driver)]


@pytest.mark.parametrize("how", ["replaced", "rewritten"])
@pytest.mark.parametrize("end", ["shutdown", "restart"])
async def test_a_file_that_is_no_longer_ours_is_left(
    driver: KernelDriver, kernels: Drivers, how: str, end: str
) -> None:
    path = kernels.connection_file(driver)
    if how == "replaced":
        path.unlink()  # the number of its inode is free for the next file
    path.write_text(THEIRS)
    await (driver.restart() if end == "restart" else driver.shutdown())
    assert path.read_text() == THEIRS
    await driver.shutdown()
    assert others(kernels, path) == []
    assert path.read_text() == THEIRS
    path.unlink()


async def test_a_start_that_fails_leaves_the_file_of_another(kernels: Drivers) -> None:
    path = named(kernels, "an-id")
    path.write_text(THEIRS)
    driver = kernels.make("no_such_program", kernel_id="an-id")
    with pytest.raises(KernelStartFailed, match="could not be started"):
        await driver.start()
    assert path.read_text() == THEIRS
    assert others(kernels, path) == []
    path.unlink()


async def test_a_folder_in_the_way_fails_to_start(kernels: Drivers) -> None:
    path = named(kernels, "an-id")
    path.mkdir()
    with pytest.raises(KernelStartFailed, match="Is a directory"):
        await kernels.make(kernel_id="an-id").start()
    assert others(kernels, path) == []
    path.rmdir()


async def test_the_file_is_whole_when_it_appears(kernels: Drivers) -> None:
    """Whoever watches the folder sees no half of it."""
    driver = await kernels.start()
    info = json.loads(kernels.connection_file(driver).read_text())
    assert info["kernel_name"] == "tiny_plain"
    assert kernels.connection_file(driver).stat().st_nlink == 1
