"""What a kernel stood on is gone, or is another one, when it is launched again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.errors import KernelStartFailed
from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernels.kernel import Kernel
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import KernelChoice, Session, SessionStore

from ..support.drivers import Drivers, Recorder, execute, run
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

TINY = KernelChoice(None, "tiny_plain", named=True)
WHICH = "import os; stream(os.environ['WHICH'])"


async def restarted(driver: KernelDriver, how: str) -> None:
    """Restart a kernel, or have it die and wait until it is there again."""
    if how == "restart":
        await driver.restart()
        return
    observer, told = driver.observer, Recorder(driver)
    execute(driver.client, "os = __import__('os'); os._exit(1)")
    await told.until("restarting")
    await until(lambda: driver.client.execution_state == "idle")
    driver.observer = observer


HOW = pytest.mark.parametrize("how", ["restart", "death"])


# --- the kernelspec -------------------------------------------------------------------------------


def spec(which: str, python: str = sys.executable) -> dict[str, Any]:
    argv = [python, str(KERNEL), "plain", "{connection_file}"]
    return {"argv": argv, "display_name": "Mine", "language": "python", "env": {"WHICH": which}}


def add_program(path: Path) -> Path:
    """A program that is this Python; not a link, as that would not find its packages."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))


def truncate(folder: Path) -> None:
    (folder / "kernel.json").write_text('{"argv": [')


def change(folder: Path) -> None:
    (folder / "kernel.json").write_text(json.dumps(spec("new")))


def hide_all(folder: Path) -> None:
    shutil.rmtree(folder.parent)


@HOW
@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (remove, "cannot be found (No such kernel: mine)"),
        (rename, "cannot be found (No such kernel: mine)"),
        (truncate, "cannot be found (No such kernel: mine)"),
        (hide_all, "cannot be found (No such kernel: mine)"),
        (change, "has been changed; it starts again as it was launched"),
    ],
)
async def test_a_kernel_starts_again_by_the_kernelspec_as_it_was_launched(
    kernels: Drivers, caplog: pytest.LogCaptureFixture, how: str, happens: Callable[[Path], None], said: str
) -> None:
    folder = add_kernelspec(kernels.share, "mine", spec("old"))
    driver = await kernels.start("mine", restart_backoff_s=0.01)
    happens(folder)
    await restarted(driver, how)
    assert await run(driver.client, WHICH) == "old"
    assert driver.name == "mine"
    [record] = [one for one in caplog.records if said in one.getMessage()]
    assert record.levelname == "WARNING"


async def test_the_kernelspec_as_it_is_now_is_used_if_the_old_one_has_no_program(
    kernels: Drivers, caplog: pytest.LogCaptureFixture
) -> None:
    python = add_program(kernels.share / "old-python")
    folder = add_kernelspec(kernels.share, "mine", spec("old", str(python)))
    driver = await kernels.start("mine")
    python.unlink()
    change(folder)
    await driver.restart()
    assert await run(driver.client, WHICH) == "new"
    assert "it starts by the kernelspec as it is now" in caplog.text


async def test_nothing_is_said_of_a_kernelspec_that_is_as_it_was(
    kernels: Drivers, caplog: pytest.LogCaptureFixture
) -> None:
    driver = await kernels.start()
    await driver.restart()
    assert "WARNING" not in caplog.text


# --- the program ----------------------------------------------------------------------------------


async def failed_restart(driver: KernelDriver) -> str:
    with pytest.raises(KernelStartFailed) as caught:
        await driver.restart()
    assert driver.reason == caught.value.message
    return caught.value.message


async def test_a_program_that_is_gone_is_named(kernels: Drivers) -> None:
    python = add_program(kernels.share / "my-python")
    add_kernelspec(kernels.share, "mine", spec("old", str(python)))
    driver = await kernels.start("mine")
    python.unlink()
    message = await failed_restart(driver)
    assert message == "Kernel mine could not be started: No such file or directory: my-python"
    add_program(python)
    await driver.restart()
    assert await run(driver.client, WHICH) == "old"


async def test_the_interpreter_of_a_script_that_is_gone_is_told_from_the_script(kernels: Drivers) -> None:
    """As after a move of a virtual environment, whose scripts name its old place."""
    python = kernels.share / "my-python"
    python.symlink_to(sys.executable)
    script = kernels.share / "start-kernel"
    script.write_text(
        f"#!{python}\nimport os, sys\nos.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    script.chmod(0o755)
    add_kernelspec(kernels.share, "mine", spec("old", str(script)))
    driver = await kernels.start("mine")
    python.unlink()
    message = await failed_restart(driver)
    assert message.endswith("the program in its first line (#!) does not exist: start-kernel")
    assert str(kernels.share) not in message


# --- the connection file --------------------------------------------------------------------------


@HOW
@pytest.mark.parametrize("what", ["folder", "file"])
async def test_a_connection_file_that_is_gone_is_written_again(kernels: Drivers, how: str, what: str) -> None:
    driver = await kernels.start(restart_backoff_s=0.01)
    path = kernels.connection_file(driver)
    if what == "folder":
        shutil.rmtree(kernels.connection_dir)
    else:
        path.unlink()
    assert await run(driver.client, "stream('goes on')") == "goes on"
    await restarted(driver, how)
    assert json.loads(path.read_text())["kernel_name"] == "tiny_plain"
    assert path.parent.stat().st_mode & 0o777 == 0o700


# --- the folder of the server ---------------------------------------------------------------------


async def test_a_kernel_starts_when_the_servers_own_folder_is_gone(
    kernels: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(own)
    own.rmdir()
    with pytest.raises(FileNotFoundError):
        os.getcwd()
    driver = await kernels.start()
    assert await run(driver.client, "import os; stream(os.getcwd())") == str(kernels.root)
    await driver.restart()
    assert "the folder that this server runs in has been removed" in caplog.text


# --- the folder of the notebook -------------------------------------------------------------------


async def cwd(kernel: Kernel) -> str:
    return await run(kernel.client, "import os; stream(os.getcwd())")


async def in_folder(registry: KernelRegistry, path: str) -> tuple[SessionStore, Session, Kernel]:
    (registry.root / path).parent.mkdir(parents=True)
    sessions = SessionStore(registry)
    session = await sessions.create(path, "", "notebook", TINY)
    kernel = registry.get(session.kernel_id)
    assert await cwd(kernel) == str((registry.root / path).parent)
    return sessions, session, kernel


@HOW
async def test_a_kernel_follows_its_notebook_to_another_folder(
    registry: KernelRegistry, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    sessions, session, kernel = await in_folder(registry, "a/b/n.ipynb")
    (registry.root / "a").rename(registry.root / "c")
    await sessions.change(session.id, path="c/b/n.ipynb")
    await restarted(kernel.driver, how)
    assert await cwd(kernel) == str(registry.root / "c" / "b")
    assert f"kernel {kernel.id} starts in {registry.root / 'c' / 'b'} now, no longer in" in caplog.text


@HOW
@pytest.mark.parametrize("left", ["a", "."])
async def test_a_kernel_whose_folder_is_gone_starts_in_the_nearest_one(
    registry: KernelRegistry, how: str, left: str
) -> None:
    _, _, kernel = await in_folder(registry, "a/b/n.ipynb")
    if left == "a":
        (registry.root / "a" / "b").rmdir()
    else:
        (registry.root / "a").rename(registry.root / "c")
    await restarted(kernel.driver, how)
    assert await cwd(kernel) == str((registry.root / left).resolve())


async def test_a_folder_that_is_there_again_is_used_again(registry: KernelRegistry) -> None:
    _, _, kernel = await in_folder(registry, "a/n.ipynb")
    (registry.root / "a").rename(registry.root / "c")
    await kernel.driver.restart()
    assert await cwd(kernel) == str(registry.root)
    (registry.root / "c").rename(registry.root / "a")
    await kernel.driver.restart()
    assert await cwd(kernel) == str(registry.root / "a")


async def test_a_notebook_that_moves_to_a_folder_that_is_not_there_yet(registry: KernelRegistry) -> None:
    sessions, session, kernel = await in_folder(registry, "a/n.ipynb")
    await sessions.change(session.id, path="new/n.ipynb")
    await kernel.driver.restart()
    assert await cwd(kernel) == str(registry.root)


@pytest.mark.parametrize("becomes", ["file", "link that leads outside"])
async def test_a_folder_that_is_something_else_now_is_not_followed(
    registry: KernelRegistry, tmp_path_factory: pytest.TempPathFactory, becomes: str
) -> None:
    _, _, kernel = await in_folder(registry, "a/n.ipynb")
    (registry.root / "a").rmdir()
    if becomes == "file":
        (registry.root / "a").touch()
    else:
        (registry.root / "a").symlink_to(tmp_path_factory.mktemp("outside"))
    await kernel.driver.restart()
    assert await cwd(kernel) == str(registry.root)


@pytest.mark.parametrize("action", ["restart", "start"])
async def test_the_root_itself_is_gone(
    registry: KernelRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    """It is renamed, with all that is in it: the nearest folder is the one that it was in."""
    root = tmp_path / "root"
    config = KernelsConfig(root_dir=str(root), connection_dir=str(tmp_path / "runtime"), prewarm=0)
    (root / "a").mkdir(parents=True)
    other = KernelRegistry(config.options(), registry.specs)
    try:
        kernel = await other.start("tiny_plain", path="a/n.ipynb")
        root.rename(tmp_path / "renamed")
        if action == "restart":
            await kernel.driver.restart()
            assert f"starts in {tmp_path} now" in caplog.text
        else:
            kernel = await other.start("tiny_plain", path="a/n.ipynb")
            assert f"{root} does not exist any more: kernels start in {tmp_path}" in caplog.text
        assert await cwd(kernel) == str(tmp_path)
    finally:
        await other.stop()
