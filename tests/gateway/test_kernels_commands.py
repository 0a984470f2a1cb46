"""The commands that show and end kernels whose servers are gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow, Launched, Phase, ReplicaRow, SessionRow
from fps_kernels.store.sqlite_store import FILE, SQLiteStore

COMMAND = Path(sys.executable).with_name("fps-kernels")


def command(*words: str | Path, ok: bool = True) -> str:
    """What a command says; of one that fails, the one line on stderr."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is ok, done.stderr
    assert ok or done.stderr.count("\n") == 1, done.stderr
    return done.stdout if ok else done.stderr


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()


def write(state: Path, *rows: KernelRow, sessions: tuple[SessionRow, ...] = ()) -> None:
    """Write kernels down: of a server that lives (`here`), and of others."""

    async def put() -> None:
        store = SQLiteStore(state / FILE)
        await store.open()
        await store.put_replica(ReplicaRow("here", ProcessMark.of(os.getpid()), "1", "http://x"))
        await store.put_kernels(rows)
        for session in sessions:
            await store.put_session(session)
        await store.close()

    asyncio.run(put())


def left(state: Path) -> list[str]:
    async def read() -> list[str]:
        store = SQLiteStore(state / FILE)
        await store.open()
        found = [row.id for row in await store.kernels()]
        await store.close()
        return found

    return asyncio.run(read())


def test_the_table_of_kernels(state: Path, process: subprocess.Popen[bytes]) -> None:
    mark = ProcessMark.of(process.pid)
    write(
        state,
        KernelRow("a-1", "python3", "here", phase=Phase.RUNNING, process=mark, execution_state="busy"),
        KernelRow("b-2", "ir", "gone", phase=Phase.DEAD, created_at="2026-01-02T03:04:05.000006Z"),
        KernelRow("c-3", "ir", "gone", phase=Phase.RUNNING, process=ProcessMark(1, 1, "1", "x", "x")),
        KernelRow("d-4", "evil\nname\x1b[31m", "gone", launched=Launched(path="n.ipynb")),
        sessions=(SessionRow("s", "a.ipynb", "", "notebook", "a-1"), SessionRow("t", "b.ipynb", "", "console", "a-1")),
    )
    head, *lines = command("kernels", "--state-dir", state).splitlines()
    assert head.split() == ["KERNEL", "KERNELSPEC", "STATE", "PID", "SINCE", "NOTEBOOK", "SERVER"]
    words = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert words.keys() == {"a-1", "b-2", "c-3", "d-4"}
    assert words["a-1"] == f"python3 busy {process.pid} - a.ipynb, b.ipynb pid {os.getpid()} http://x"
    assert words["b-2"] == "ir dead - 2026-01-02T03:04:05Z - none"
    assert words["c-3"] == "ir gone 1 - - none"
    assert words["d-4"] == "evil\\nname\\x1b[31m launching - - n.ipynb none"


def test_without_a_store_there_are_no_kernels(state: Path, tmp_path: Path) -> None:
    assert command("kernels", "--state-dir", state) == "No kernels are kept\n"
    assert "no kernel whose server is gone" in command("stop", "--all", "--state-dir", state)
    assert not list(state.iterdir())
    missing = tmp_path / "missing"
    assert "there is no such folder" in command("kernels", "--state-dir", missing, ok=False)


def test_a_store_that_others_can_reach_is_not_read(state: Path) -> None:
    write(state)
    state.chmod(0o755)
    assert "others can look into it" in command("kernels", "--state-dir", state, ok=False)


def test_a_kernel_is_ended_by_the_beginning_of_its_id(state: Path, process: subprocess.Popen[bytes]) -> None:
    write(state, KernelRow("abc", "p", process=ProcessMark.of(process.pid)), KernelRow("abd", "p"))
    assert "several kernels have such an id" in command("stop", "--state-dir", state, "ab", ok=False)
    assert "no kernel that is kept has such an id" in command("stop", "--state-dir", state, "abc", "x", ok=False)
    assert process.poll() is None
    assert command("stop", "--state-dir", state, "abc") == "abc has ended\n"
    assert process.wait(10) == -15
    assert left(state) == ["abd"]


def test_kernels_of_a_server_that_lives_are_left_to_it(state: Path, process: subprocess.Popen[bytes]) -> None:
    write(state, KernelRow("mine", "p", "here", process=ProcessMark.of(process.pid)), KernelRow("orphan", "p", "gone"))
    assert f"its server, with pid {os.getpid()}, runs" in command("stop", "--state-dir", state, "mine", ok=False)
    assert command("stop", "--state-dir", state, "--all") == "orphan has ended\n"
    assert process.poll() is None
    assert left(state) == ["mine"]


def test_another_process_with_the_number_of_a_kernel_is_left_alone(
    state: Path, process: subprocess.Popen[bytes]
) -> None:
    mark = ProcessMark.of(process.pid)
    assert mark is not None
    other = ProcessMark(mark.pid, mark.pgid, "1", mark.boot_id, mark.host)
    write(state, KernelRow("k", "p", process=other))
    assert command("stop", "--state-dir", state, "--all") == "k has ended\n"
    assert process.poll() is None


@pytest.mark.parametrize("words", [[], ["--all", "k"]])
def test_what_is_to_be_ended_has_to_be_named(words: list[str]) -> None:
    done = subprocess.run([COMMAND, "stop", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "name kernels, or --all" in done.stderr
