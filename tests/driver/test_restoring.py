"""What a server finds of the servers before it, and what it makes of that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.errors import KernelNotFound, StoreUnreachable
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_driver.process import LaunchedProcess
from fps_kernels.kernel_driver.state import ExecutionState
from fps_kernels.kernels.kernel_folder import KernelFolder
from fps_kernels.kernels.sessions import KernelChoice
from fps_kernels.kernels.start_policy import StartPolicy
from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow, Launched, Phase, Purpose, ReplicaRow, SessionRow
from fps_kernels.store.sqlite_store import connect

from ..support.drivers import run
from ..support.externals import ExternalKernel
from ..support.kept import LeavingLauncher, Successor
from ..support.kernelspecs import install_kernelspecs
from ..support.waits import until

PLAIN = "tiny_plain"
pytestmark = pytest.mark.usefixtures("bounded")
Successors = Callable[..., Successor]


@pytest.fixture
async def successors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Successors]:
    """successors() makes a server that has not started; all are stopped at the end."""
    install_kernelspecs(tmp_path / "share")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    made: list[Successor] = []

    def make(**values: Any) -> Successor:
        made.append(Successor(tmp_path, **values))
        return made[-1]

    yield make
    for one in made:
        await one.registry.stop()


@pytest.fixture
async def write(successors: Successors) -> Callable[..., Any]:
    """write(rows, sessions=[], **of the first row) writes down what a server that is gone has left."""

    async def write(*rows: KernelRow, sessions: tuple[SessionRow, ...] = (), replica: ReplicaRow | None = None) -> None:
        server = successors()
        store, root = server.registry.kept.store, str(server.registry.root)
        await store.open()
        await store.put_replica(replica or ReplicaRow("gone", None, root=root))
        await store.put_kernels([replace(row, replica="gone", root=row.root or root) for row in rows])
        for session in sessions:
            await store.put_session(session)
        await store.close()

    return write


def row(kernel_id: str = "k", **values: Any) -> KernelRow:
    return KernelRow(kernel_id, PLAIN, **{"generation": 1, "phase": Phase.RUNNING, **values})


@pytest.fixture
async def external(tmp_path: Path) -> AsyncIterator[ExternalKernel]:
    """A kernel whose server is gone."""
    kernel = ExternalKernel(tmp_path)
    yield kernel
    kernel.stop()


OURS = ProcessMark.of(os.getpid())
assert OURS is not None
PID_USED_AGAIN = replace(OURS, start_time="1")


async def test_a_kernel_that_runs_goes_on(successors: Successors, write: Any, external: ExternalKernel) -> None:
    date = "2026-01-02T03:04:05.000006Z"
    session = SessionRow("s", "a/b.ipynb", "b", "notebook", "k")
    await write(row(execution_state="busy", last_activity=date), sessions=(session,))
    server = successors()
    server.adopts["k"] = external.file
    external.process.send_signal(signal.SIGSTOP)  # it cannot answer yet
    try:
        restored = await server.start()
        kernel = server.registry.get("k")
        model = kernel.model()
    finally:
        external.process.send_signal(signal.SIGCONT)
    assert (restored.adopted, restored.dead, restored.ended) == (["k"], [], [])
    assert (model["id"], model["name"], model["last_activity"]) == ("k", PLAIN, date)
    assert model["execution_state"] == "busy"  # before it has answered
    [found] = server.sessions.list()
    assert server.sessions.model(found)["kernel"]["id"] == "k"
    assert (found.id, found.path, found.name, found.type) == ("s", "a/b.ipynb", "b", "notebook")
    await kernel.wait_started(None)
    assert await run(kernel.client, "stream(str(6 * 7))") == "42"
    assert kernel.execution_state is ExecutionState.IDLE
    again = await server.sessions.create("a/b.ipynb", "", "notebook", KernelChoice(None, PLAIN, named=True))
    assert again.id == "s"
    rows = await server.registry.rows()
    assert rows["k"].replica == server.registry.kept.replica.id
    assert [one.id for one in await server.registry.kept.store.replicas()] == [server.registry.kept.replica.id]


async def test_the_session_of_a_kernel_that_goes_on_can_be_changed(
    successors: Successors, write: Any, external: ExternalKernel
) -> None:
    await write(row(), sessions=(SessionRow("s", "a.ipynb", "", "notebook", "k", created_at="2026"),))
    server = successors()
    server.adopts["k"] = external.file
    await server.start()
    await server.sessions.change("s", name="new", path="b.ipynb")
    changed = (await server.registry.session_rows())["s"]
    assert (changed.name, changed.path, changed.created_at) == ("new", "b.ipynb", "2026")
    launched = (await server.registry.written("k", lambda row: row.launched.path == "b.ipynb")).launched
    assert launched.extra_env["JPY_SESSION_NAME"].endswith("/b.ipynb")


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        (ProcessMark(2**22 - 1, 1, "1", "another boot", "host"), "Its machine was restarted"),
        (PID_USED_AGAIN, "The kernel died while no server was running"),
        (None, "The kernel died while no server was running"),
    ],
    ids=["boot", "pid used again", "unknown"],
)
async def test_a_kernel_that_is_gone_is_dead_and_can_be_restarted(
    successors: Successors, write: Any, process: ProcessMark | None, reason: str, tmp_path: Path
) -> None:
    launched = Launched(cwd=str(tmp_path / "root"), path="a.ipynb", extra_env={"KERNEL_COLOR": "blue"})
    await write(row(process=process, launched=launched), sessions=(SessionRow("s", "a.ipynb", "", "notebook", "k"),))
    server = successors()
    restored = await server.start()
    assert (restored.adopted, restored.dead, restored.ended) == ([], ["k"], [])
    model = server.registry.get("k").model()
    assert (model["execution_state"], model["reason"]) == ("dead", reason)
    written = await server.registry.written("k", lambda row: row.phase is Phase.DEAD)
    assert written.reason == reason
    assert [session.kernel_id for session in server.sessions.list()] == ["k"]
    kernel = await server.registry.restart("k")
    code = "import os; stream(f\"{os.environ['KERNEL_COLOR']} {os.getcwd()}\")"
    assert await run(kernel.client, code) == f"blue {tmp_path / 'root'}"
    written = await server.registry.written("k", lambda row: row.phase is Phase.RUNNING)
    assert (written.generation, written.process) == (2, ProcessMark.of(kernel.driver.pid or 0))
    await server.registry.shutdown("k")
    with pytest.raises(KernelNotFound):
        server.registry.get("k")


async def test_a_kernel_goes_on_when_its_server_is_stopped_and_with_the_next_one(
    successors: Successors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = successors(stays=True)
    first.registry.kept.replica = replace(first.registry.kept.replica, process=None)  # it does not live for others
    factory = first.registry.factory
    await first.start()
    other = await first.registry.start(PLAIN, purpose=Purpose.WARM)

    def launcher(
        options: LaunchOptions, pool: object = None, folder: KernelFolder | None = None, **_: object
    ) -> LeavingLauncher:
        made = LeavingLauncher(options, factory.specs, folder=folder)
        made.launched = launched
        return made

    launched: list[LaunchedProcess] = []
    monkeypatch.setattr(factory, "launcher", launcher)
    warm = await first.registry.start(PLAIN, purpose=Purpose.WARM)
    session = await first.sessions.create("a.ipynb", "", "notebook", KernelChoice("k", PLAIN, named=True))
    kernel = first.registry.get("k")
    await run(kernel.client, "x = 42")
    mark = (await first.registry.written("k", lambda row: row.phase is Phase.RUNNING)).process
    assert mark is not None
    saved = tmp_path / "saved.json"
    shutil.copy((await first.registry.rows())["k"].launched.connection_file, saved)
    of_the_server = [ProcessMark.of(one.driver.pid or 0) for one in (other, warm)]
    await first.registry.stop()
    assert mark.runs
    assert not [one for one in of_the_server if one is None or one.runs]
    second = successors()
    second.adopts["k"] = saved
    restored = await second.start()
    assert (restored.adopted, restored.dead, restored.ended) == (["k"], [], [])
    assert [one.id for one in second.sessions.list()] == [session.id]
    kernel = second.registry.get("k")
    await kernel.wait_started(None)
    assert await run(kernel.client, "stream(str(x))") == "42"
    row = await second.registry.written("k", lambda row: True)
    assert (row.process, row.generation, row.phase) == (mark, 1, Phase.RUNNING)
    os.kill(mark.pid, signal.SIGKILL)
    for process in launched:
        await process.exited
        await process.clean_up()


class Preparing(StartPolicy):
    """Counts the processes that are prepared, as with a seed."""

    prepared = 0

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        self.prepared += 1


@pytest.mark.parametrize(("phase", "prepared"), [(Phase.RUNNING, 0), (Phase.RESTARTING, 0), (Phase.LAUNCHING, 1)])
async def test_a_kernel_that_goes_on_is_not_prepared_again(
    successors: Successors, write: Any, external: ExternalKernel, phase: Phase, prepared: int
) -> None:
    await write(row(phase=phase, process=ProcessMark.of(external.process.pid)))
    policy = Preparing()
    server = successors(policy=policy)
    server.adopts["k"] = external.file
    await server.start()
    await server.registry.get("k").wait_started(None)
    assert policy.prepared == prepared
    written = await server.registry.written("k", lambda row: row.phase is Phase.RUNNING)
    assert (written.generation, written.process) == (1, ProcessMark.of(external.process.pid))


async def test_one_that_is_restarted_is_prepared(successors: Successors, write: Any) -> None:
    await write(row())
    policy = Preparing()
    server = successors(policy=policy)
    await server.start()
    await server.registry.restart("k")
    assert policy.prepared == 1


async def test_without_a_store_a_start_ends_and_leaves_all_as_it_is(
    successors: Successors, write: Any, external: ExternalKernel, tmp_path: Path
) -> None:
    await write(row(process=ProcessMark.of(external.process.pid)))
    server = successors()
    server.adopts["k"] = external.file
    registry = server.registry
    await registry.open()
    lock = connect(tmp_path / "store.sqlite")
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnreachable):
        await server.restore()
    lock.close()
    assert (registry.list(), server.ended) == ([], [])
    assert external.process.poll() is None
    assert (await registry.rows())["k"].replica == "gone"


async def test_a_kernel_that_was_dead_stays_so(successors: Successors, write: Any, external: ExternalKernel) -> None:
    await write(row(phase=Phase.DEAD, reason="The kernel died: too often"))
    server = successors()
    server.adopts["k"] = external.file  # it is not asked for
    await server.start()
    assert server.registry.get("k").model().get("reason") == "The kernel died: too often"


async def test_a_dead_kernel_can_be_shut_down(successors: Successors, write: Any) -> None:
    await write(row(), sessions=(SessionRow("s", "a.ipynb", "", "notebook", "k"),))
    server = successors()
    await server.start()
    await server.sessions.delete("s")
    assert server.registry.list() == []


async def test_what_was_not_finished_is_ended(successors: Successors, write: Any, external: ExternalKernel) -> None:
    mark = ProcessMark.of(external.process.pid)
    await write(
        row("never ready", phase=Phase.LAUNCHING),
        row("never launched", phase=Phase.LAUNCHING, generation=0),
        row("ending", phase=Phase.ENDING, process=mark),
        sessions=(SessionRow("s", "a.ipynb", "", "notebook", "ending"),),
    )
    server = successors()
    restored = await server.start()
    assert sorted(restored.ended) == ["ending", "never launched", "never ready"]
    assert (server.registry.list(), server.sessions.list()) == ([], [])
    assert (await server.registry.rows(), await server.registry.session_rows()) == ({}, {})
    assert mark in [one.process for one in server.ended]


async def test_kernels_of_the_pool_are_ended(successors: Successors, write: Any) -> None:
    await write(row("pool", purpose=Purpose.POOL), row("warm", purpose=Purpose.WARM), row("user"))
    server = successors()
    restored = await server.start()
    assert (sorted(restored.ended), restored.dead) == (["pool", "warm"], ["user"])
    assert sorted(one.id for one in server.ended) == ["pool", "user", "warm"]


async def test_one_that_cannot_be_taken_over_is_ended(successors: Successors, write: Any) -> None:
    with subprocess_of_its_own() as process:
        await write(row(process=ProcessMark.of(process.pid)))
        server = successors()
        await server.start()
        assert "could not be taken over" in str(server.registry.get("k").model().get("reason"))
        assert process.wait(10) == -signal.SIGKILL


@contextlib.contextmanager
def subprocess_of_its_own() -> Any:
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as process:
        yield process


async def test_kernels_of_a_server_that_lives_are_left_alone(
    successors: Successors, write: Any, external: ExternalKernel
) -> None:
    lives = ReplicaRow("gone", ProcessMark.of(external.process.pid))
    await write(row(), replica=lives)
    server = successors()
    server.adopts["k"] = external.file
    restored = await server.start()
    assert (restored.adopted, restored.dead, restored.ended) == ([], [], [])
    assert (await server.registry.rows())["k"].replica == "gone"


async def test_kernels_of_another_root_are_left_alone(successors: Successors, write: Any) -> None:
    await write(row(root="/elsewhere"))
    server = successors()
    assert not (await server.start()).dead
    assert (await server.registry.rows())["k"].replica == "gone"
    assert "gone" in [one.id for one in await server.registry.kept.store.replicas()]


async def test_of_two_servers_that_start_at_once_each_kernel_has_one(successors: Successors, write: Any) -> None:
    ids = {f"k{number}" for number in range(20)}
    await write(*map(row, ids))
    servers = [successors(), successors()]
    await asyncio.gather(*(server.start() for server in servers))
    first, second = ({kernel.id for kernel in server.registry.list()} for server in servers)
    assert first | second == ids
    assert not first & second


async def test_one_kernel_that_fails_keeps_no_server_from_starting(
    successors: Successors, write: Any, external: ExternalKernel, caplog: pytest.LogCaptureFixture
) -> None:
    await write(row("bad"), row("good"))
    server = successors()
    server.adopts["good"] = external.file
    server.adopts["bad"] = external.file.with_name("no such file")
    restored = await server.start()
    assert (restored.adopted, restored.dead) == (["good"], ["bad"])
    assert "kernel bad could not be taken over" in caplog.text


async def test_a_keeper_that_does_not_answer_is_not_waited_for(
    successors: Successors, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(row: KernelRow) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("fps_kernels.kernels.keeping.restoring.ADOPT_TIMEOUT_S", 0.1)
    monkeypatch.setattr("fps_kernels.kernels.keeping.restoring.END_TIMEOUT_S", 0.1)
    await write(*(row(f"k{number}") for number in range(20)))
    server = successors()
    monkeypatch.setattr(server, "adopt", hang)
    monkeypatch.setattr(server, "end", hang)
    async with asyncio.timeout(5):
        assert len((await server.start()).dead) == 20


SERVER = """
import asyncio, sys
from pathlib import Path
from tests.support.kept import KeptRegistry
from fps_kernels.kernels.sessions import KernelChoice, SessionStore
from fps_kernels.store.model import Phase

async def serve():
    registry = KeptRegistry(Path(sys.argv[1]))
    await registry.open()
    sessions = SessionStore(registry)
    choice = KernelChoice("k", "tiny_plain", named=True)
    kernel = await registry.start("tiny_plain", kernel_id="k", path="a.ipynb", env={"KERNEL_COLOR": "blue"})
    session = await sessions.create("a.ipynb", "a", "notebook", choice)
    await registry.written("k", lambda row: row.phase is Phase.RUNNING)
    print(session.id, flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


async def test_a_server_that_is_killed_leaves_its_kernels_to_the_next(successors: Successors, tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(SERVER), tmp_path, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert server.stdout is not None
    session_id = (await server.stdout.readline()).decode().strip()
    assert session_id
    server.kill()
    await server.wait()
    after = successors()
    await after.registry.kept.store.open()
    [left] = (await after.registry.rows()).values()
    mark = left.process
    assert mark is not None
    await until(lambda: not mark.runs)  # without a keeper, it ends with its server
    assert (await after.start()).dead == ["k"]
    assert [(one.id, one.path, one.name) for one in after.sessions.list()] == [(session_id, "a.ipynb", "a")]
    kernel = await after.registry.restart("k")
    assert await run(kernel.client, "import os; stream(os.environ['KERNEL_COLOR'])") == "blue"
