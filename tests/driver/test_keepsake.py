"""What is written down of kernels and sessions while they live, for the server after this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fps_kernels.errors import StoreUnreachable
from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernels.external_folder import ExternalKernels
from fps_kernels.kernels.sessions import KernelChoice, SessionStore
from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow, Phase, Purpose, SessionRow
from fps_kernels.store.sqlite_store import SQLiteStore

from ..support.externals import ExternalKernel
from ..support.kept import KeptRegistry
from ..support.kernelspecs import install_kernelspecs
from ..support.waits import until

PLAIN = "tiny_plain"
pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeptRegistry]:
    """A registry that writes down what it has; nothing of its kernels may be written down at the end."""
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    registry = KeptRegistry(tmp_path)
    await registry.open()
    yield registry
    await registry.stop()


async def left_in(path: Path) -> tuple[list[KernelRow], list[SessionRow]]:
    """What another server finds."""
    store = SQLiteStore(path)
    await store.open()
    found = await store.kernels(), await store.sessions()
    await store.close()
    return found


def kernel_named_in(connection_file: str) -> object:
    return json.loads(Path(connection_file).read_text())["kernel_name"]


def remove_store(folder: Path) -> None:
    for path in folder.glob("store.sqlite*"):
        path.unlink()


def pid(registry: KeptRegistry, kernel_id: str) -> int:
    number = registry.get(kernel_id).driver.pid
    assert number is not None
    return number


async def test_a_kernel_that_runs(kept: KeptRegistry, tmp_path: Path) -> None:
    kernel = await kept.start(PLAIN, path="a/b.ipynb", env={"KERNEL_COLOR": "blue", "PATH": "/x"})
    row = await kept.written(kernel.id, lambda row: row.phase is Phase.RUNNING)
    assert (row.name, row.purpose, row.generation, row.execution_state) == (PLAIN, Purpose.USER, 1, "idle")
    assert (row.replica, row.root) == (kept.kept.replica.id, str(tmp_path / "root"))
    assert row.process is not None
    assert row.process == ProcessMark.of(pid(kept, kernel.id))
    assert row.process.runs
    launched = row.launched
    assert launched.environ == {"KERNEL_COLOR": "blue", "PATH": "/x"}
    assert launched.extra_env == {"KERNEL_COLOR": "blue"}  # what it may set
    assert (launched.cwd, launched.path) == (str(tmp_path / "root"), "a/b.ipynb")
    assert launched.kernelspec == kernel.driver.kernelspec
    assert kernel_named_in(launched.connection_file) == PLAIN
    assert [one.process for one in await kept.kept.store.replicas()] == [ProcessMark.of(os.getpid())]


async def test_a_kernel_is_written_down_before_its_process_is_launched(kept: KeptRegistry) -> None:
    start = asyncio.create_task(kept.start("tiny_slow", kernel_id="k"))
    row = await kept.written("k", lambda row: True)
    assert row.phase is Phase.LAUNCHING
    await kept.written("k", lambda row: row.process is not None and row.phase is Phase.LAUNCHING)
    await start
    await kept.written("k", lambda row: row.phase is Phase.RUNNING)


async def test_nothing_is_left_of_a_kernel_that_was_shut_down(kept: KeptRegistry) -> None:
    first, second = await kept.start(PLAIN), await kept.start(PLAIN)
    await kept.shutdown(first.id)

    async def only_the_second() -> bool:
        return (await kept.rows()).keys() == {second.id}

    await until(only_the_second)


async def test_nothing_is_left_when_the_server_ends(kept: KeptRegistry, tmp_path: Path) -> None:
    sessions = SessionStore(kept)
    await sessions.create("a.ipynb", "", "notebook", KernelChoice(None, PLAIN, named=True))
    await kept.stop()
    assert await left_in(tmp_path / "store.sqlite") == ([], [])


async def test_nothing_is_left_of_a_kernel_that_does_not_start(kept: KeptRegistry) -> None:
    with pytest.raises(Exception, match="could not be started"):
        await kept.start("no_such_program")

    async def nothing() -> bool:
        return not await kept.rows()

    await until(nothing)


async def test_nothing_is_left_of_kernels_that_cannot_outlive_the_server(kept: KeptRegistry, tmp_path: Path) -> None:
    await SessionStore(kept).create("a.ipynb", "", "notebook", KernelChoice(None, PLAIN, named=True))
    await kept.kept.leave()
    await kept.stop()
    assert await left_in(tmp_path / "store.sqlite") == ([], [])


async def test_a_restart_by_a_user(kept: KeptRegistry) -> None:
    kernel = await kept.start(PLAIN)
    await kept.restart(kernel.id)
    row = await kept.written(kernel.id, lambda row: row.generation == 2 and row.phase is Phase.RUNNING)
    assert row.process == ProcessMark.of(pid(kept, kernel.id))


async def test_a_kernel_that_dies_and_is_restarted(kept: KeptRegistry) -> None:
    kernel = await kept.start(PLAIN)
    os.kill(pid(kept, kernel.id), signal.SIGKILL)
    row = await kept.written(kernel.id, lambda row: row.generation == 2 and row.phase is Phase.RUNNING)
    assert row.process is not None
    assert row.process.runs
    assert row.reason == ""


async def test_a_kernel_that_stays_dead(tmp_path: Path, kept: KeptRegistry) -> None:
    other = KeptRegistry(tmp_path, restart_limit=0)
    await other.open()
    kernel = await other.start(PLAIN)
    os.kill(pid(other, kernel.id), signal.SIGKILL)
    row = await other.written(kernel.id, lambda row: row.phase is Phase.DEAD)
    assert "SIGKILL" in row.reason
    assert row.execution_state == "dead"
    await other.stop()


async def test_a_session_and_its_name_and_its_end(kept: KeptRegistry) -> None:
    sessions = SessionStore(kept)
    session = await sessions.create("a.ipynb", "a", "notebook", KernelChoice(None, PLAIN, named=True))
    row = (await kept.session_rows())[session.id]
    assert (row.path, row.name, row.type, row.kernel_id) == ("a.ipynb", "a", "notebook", session.kernel_id)
    assert row.root == str(kept.root)
    await sessions.change(session.id, path="below/b.ipynb", name="b", kind="console")
    changed = (await kept.session_rows())[session.id]
    assert (changed.path, changed.name, changed.type) == ("below/b.ipynb", "b", "console")
    assert changed.created_at == row.created_at
    kernel = await kept.written(session.kernel_id, lambda row: row.launched.path == "below/b.ipynb")
    assert kernel.launched.extra_env["JPY_SESSION_NAME"].endswith("/below/b.ipynb")
    other = await kept.start(PLAIN)
    await sessions.change(session.id, choice=KernelChoice(other.id))
    assert (await kept.session_rows())[session.id].kernel_id == other.id
    await sessions.delete(session.id)
    assert await kept.session_rows() == {}


async def test_an_external_kernel_is_not_written_down(kept: KeptRegistry, tmp_path: Path) -> None:
    external = ExternalKernel(tmp_path)
    try:
        (tmp_path / "seen").mkdir()
        watch = ExternalKernels(kept, tmp_path / "seen")
        external.show(tmp_path / "seen")
        watching = asyncio.create_task(watch.watch())
        await until(kept.list)
        kernel = kept.list()[0]
        session = await SessionStore(kept).create("a.ipynb", "", "notebook", KernelChoice(kernel.id))
        assert session.kernel_id == kernel.id
        assert (await kept.rows(), await kept.session_rows()) == ({}, {})
        watching.cancel()
    finally:
        external.stop()


async def test_states_are_looked_at_from_time_to_time(kept: KeptRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = await kept.start(PLAIN)
    await kept.written(kernel.id, lambda row: row.execution_state == "idle")
    kernel.client.set_state(ExecutionState.BUSY)
    kept.kept._look()  # as every ten seconds
    await kept.written(kernel.id, lambda row: row.execution_state == "busy")


async def break_it(registry: KeptRegistry, *, whole: bool = False) -> None:
    """Have the store refuse to be written to, as on a disk that is full; whole: no longer."""
    pragma = f"PRAGMA query_only = {0 if whole else 1}"
    await registry.kept.store._run(lambda connection: connection.execute(pragma), writes=False)


async def test_without_a_store_nothing_is_begun_and_nothing_is_changed(kept: KeptRegistry) -> None:
    sessions = SessionStore(kept)
    session = await sessions.create("a.ipynb", "a", "notebook", KernelChoice(None, PLAIN, named=True))
    await kept.written(session.kernel_id, lambda row: row.phase is Phase.RUNNING)
    other = await kept.start(PLAIN)
    await break_it(kept)
    for attempt in (
        lambda: kept.start(PLAIN),
        lambda: kept.shutdown(session.kernel_id),
        lambda: sessions.create("b.ipynb", "", "notebook", KernelChoice(None, PLAIN, named=True)),
        lambda: sessions.create("b.ipynb", "", "notebook", KernelChoice(other.id)),
        lambda: sessions.change(session.id, name="b"),
        lambda: sessions.change(session.id, choice=KernelChoice(None, PLAIN)),
        lambda: sessions.delete(session.id),
    ):
        with pytest.raises(StoreUnreachable, match="The store of kernels cannot be reached"):
            await attempt()
    assert {kernel.id for kernel in kept.list()} == {session.kernel_id, other.id}
    assert [(one.id, one.path, one.name) for one in sessions.list()] == [(session.id, "a.ipynb", "a")]
    assert kept.get(session.kernel_id).execution_state is ExecutionState.IDLE
    await break_it(kept, whole=True)
    await sessions.change(session.id, name="b")
    await kept.shutdown(other.id)
    assert (await kept.session_rows())[session.id].name == "b"


async def test_without_a_store_a_kernel_that_dies_is_restarted_and_written_down_later(kept: KeptRegistry) -> None:
    kernel = await kept.start(PLAIN)
    await kept.written(kernel.id, lambda row: row.phase is Phase.RUNNING)
    before = pid(kept, kernel.id)
    await break_it(kept)
    os.kill(before, signal.SIGKILL)
    await until(lambda: kernel.driver.pid not in (None, before) and kernel.client.state.ready)
    assert (await kept.rows())[kernel.id].generation == 1
    await break_it(kept, whole=True)
    row = await kept.written(kernel.id, lambda row: row.generation == 2)
    assert row.process == ProcessMark.of(pid(kept, kernel.id))


async def test_a_store_that_was_removed_is_written_anew(kept: KeptRegistry, tmp_path: Path) -> None:
    sessions = SessionStore(kept)
    first = await sessions.create("a.ipynb", "a", "notebook", KernelChoice(None, PLAIN, named=True))
    remove_store(tmp_path)
    second = await sessions.create("b.ipynb", "b", "notebook", KernelChoice(None, PLAIN, named=True))
    assert (await kept.rows()).keys() == {first.kernel_id, second.kernel_id}
    assert (await kept.session_rows()).keys() == {first.id, second.id}
    assert len(await kept.kept.store.replicas()) == 1


async def test_an_id_that_is_used_again(kept: KeptRegistry) -> None:
    sessions = SessionStore(kept)
    for number in range(3):
        await sessions.create(f"{number}.ipynb", "", "notebook", KernelChoice("again", PLAIN, named=True))
        row = await kept.written("again", lambda row: row.phase is Phase.RUNNING)
        assert row.process == ProcessMark.of(pid(kept, "again"))
        assert [one.path for one in (await kept.session_rows()).values()] == [f"{number}.ipynb"]
        await kept.shutdown("again")


async def test_kernels_of_the_pool_are_told_from_those_of_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kept = KeptRegistry(tmp_path, prewarm=1)
    await kept.open()
    await until(lambda: kept.prewarmed.ready == 1)
    [pooled] = (await kept.rows()).values()
    assert (pooled.purpose, pooled.phase) == (Purpose.POOL, Phase.RUNNING)
    kernel = await kept.start("python3")
    row = await kept.written(kernel.id, lambda row: row.phase is Phase.RUNNING)
    assert row.process == pooled.process  # taken from the pool
    assert row.purpose is Purpose.USER
    assert kernel_named_in(row.launched.connection_file) == "python3"

    async def another_in_the_pool() -> bool:
        rows = await kept.rows()
        return pooled.id not in rows and [one.purpose for one in rows.values()].count(Purpose.POOL) == 1

    await until(another_in_the_pool)
    await kept.stop()
    assert await left_in(tmp_path / "store.sqlite") == ([], [])


async def test_a_kernel_of_the_pool_that_ends_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kept = KeptRegistry(tmp_path, prewarm=1)
    await kept.open()
    await until(lambda: kept.prewarmed.ready == 1)
    row = next(iter((await kept.rows()).values()))
    assert row.process is not None
    os.kill(row.process.pid, signal.SIGKILL)

    async def forgotten() -> bool:
        return row.id not in await kept.rows()

    await until(forgotten)
    await kept.stop()


async def test_a_kernel_that_is_launched_for_the_pool_as_the_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kept = KeptRegistry(tmp_path, prewarm=1)
    await kept.open()
    await until(kept.rows)  # before it has a process
    await kept.stop()
    assert await left_in(tmp_path / "store.sqlite") == ([], [])
