"""The store in a file: what is written is found again, and what cannot be read or written is told."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.errors import BadOption, StoreUnreachable
from fps_kernels.process_mark import ProcessMark
from fps_kernels.store.model import KernelRow, Launched, Phase, Purpose, ReplicaRow, SessionRow
from fps_kernels.store.schema import VERSION
from fps_kernels.store.sqlite_store import SQLiteStore, connect

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
envs = st.dictionaries(texts, texts, max_size=3)
marks = st.builds(ProcessMark, st.integers(1, 2**31), st.integers(0, 2**31), texts, texts, texts)
launches = st.builds(
    Launched, cwd=texts, path=texts, environ=envs, extra_env=envs, kernelspec=envs, connection_file=texts
)
rows = st.builds(
    KernelRow,
    id=texts,
    name=texts,
    replica=texts,
    root=texts,
    purpose=st.sampled_from(Purpose),
    generation=st.integers(0, 2**31),
    phase=st.sampled_from(Phase),
    reason=texts,
    process=st.none() | marks,
    launched=launches,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "store.sqlite", busy_timeout_s=0.2)
    await store.open()
    yield store
    await store.close()


@given(rows)
def test_a_row_survives_sql(row: KernelRow) -> None:
    assert KernelRow.of(list(row.values().values())) == row


def test_a_field_of_a_later_version_is_left_out() -> None:
    assert Launched.from_bytes(b'{"cwd": "/a", "news": 1}') == Launched(cwd="/a")


def test_secrets_are_not_shown() -> None:
    row = KernelRow("a", "b", launched=Launched(extra_env={"KEY": "hunter2"}, environ={"KEY": "hunter2"}))
    assert "hunter2" not in repr(row) + repr(row.launched)


def test_every_column_has_its_field() -> None:
    assert {one.name for one in fields(KernelRow)} ^ KernelRow("", "").values().keys() == {"launched", "sealed"}


async def test_what_is_written_is_there_for_the_next_one(store: SQLiteStore) -> None:
    kernel = KernelRow("k", "python3", generation=2, launched=Launched(extra_env={"A": "ä\x00\n"}))
    session = SessionRow("s", "a.ipynb", "", "notebook", "k", "/root")
    replica = ReplicaRow("r", ProcessMark.of(os.getpid()), "1.0")
    await store.put_kernels([kernel])
    assert await store.put_session(session)
    await store.put_replica(replica)
    await store.close()
    await store.close()
    again = SQLiteStore(store.path)
    await again.open()
    assert await again.kernels() == [kernel]
    assert await again.sessions() == [session]
    assert await again.replicas() == [replica]
    await again.remove_replica("r")
    await again.remove_session("s")
    assert (await again.replicas(), await again.sessions()) == ([], [])
    await again.close()


async def test_nobody_else_can_read_it(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow("k", "python3")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert modes == dict.fromkeys(["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"], 0o600)


async def test_a_change_of_a_kernel_keeps_its_sessions_and_its_end_takes_them(store: SQLiteStore) -> None:
    kernel = KernelRow("k", "python3")
    await store.put_kernels([kernel])
    await store.put_session(SessionRow("s", "a.ipynb", "", "notebook", "k"))
    await store.put_kernels([replace(kernel, phase=Phase.RUNNING)])
    assert [one.phase for one in await store.kernels()] == [Phase.RUNNING]
    assert [one.id for one in await store.sessions()] == ["s"]
    await store.put_kernels([KernelRow("other", "python3")], gone=["k", "never there"])
    assert [one.id for one in await store.kernels()] == ["other"]
    assert await store.sessions() == []


async def test_another_kernel_with_an_id_has_none_of_the_sessions(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow("k", "python3")])
    await store.put_session(SessionRow("s", "a.ipynb", "", "notebook", "k"))
    await store.put_kernels([KernelRow("k", "other")], gone=["k"])
    assert [one.name for one in await store.kernels()] == ["other"]
    assert await store.sessions() == []


async def test_a_session_of_a_kernel_that_is_gone_is_not_kept(store: SQLiteStore) -> None:
    assert not await store.put_session(SessionRow("s", "a.ipynb", "", "notebook", "k"))
    await store.put_kernels([KernelRow("k", "python3")])
    session = SessionRow("s", "a.ipynb", "", "notebook", "k")
    assert await store.put_session(session)
    assert not await store.put_session(replace(session, kernel_id="gone"))
    assert await store.sessions() == []


async def test_one_of_two_servers_gets_a_kernel(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow("k", "python3", replica="dead")])
    other = SQLiteStore(store.path)
    await other.open()
    got = await asyncio.gather(*(one.claim("k", "dead", name) for one, name in [(store, "a"), (other, "b")] * 5))
    assert sum(got) == 1
    await other.close()


async def test_the_order_of_calls_holds_without_waiting(store: SQLiteStore) -> None:
    kernel = KernelRow("k", "python3")
    await asyncio.gather(*(store.put_kernels([replace(kernel, generation=number)]) for number in range(100)))
    assert [one.generation for one in await store.kernels()] == [99]


async def unreachable(store: SQLiteStore) -> None:
    """The store must say that it cannot be written to, in the one way that clients see."""
    with pytest.raises(StoreUnreachable) as raised:
        await store.put_kernels([KernelRow("x", "python3", reason="x" * 100_000)])
    assert (raised.value.status, raised.value.message) == (503, "The store of kernels cannot be reached")


async def set_pragma(store: SQLiteStore, pragma: str) -> None:
    await store._run(lambda connection: connection.execute(f"PRAGMA {pragma}"), writes=False)


@pytest.mark.parametrize(
    ("trouble", "relief"),
    [("max_page_count = 10", "max_page_count = 1000000"), ("query_only = 1", "query_only = 0")],
    ids=["full", "read-only"],
)
async def test_a_file_that_cannot_be_written_to(
    store: SQLiteStore, trouble: str, relief: str, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put_kernels([KernelRow("k", "python3")])
    await set_pragma(store, trouble)
    await unreachable(store)
    await unreachable(store)
    assert caplog.text.count("cannot be reached") == 1  # not once for each request
    assert [one.id for one in await store.kernels()] == ["k"]
    await set_pragma(store, relief)
    await store.put_kernels([KernelRow("x", "python3")])
    assert [one.id for one in await store.kernels()] == ["k", "x"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
async def test_a_disk_that_is_full(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "store.sqlite")
    await store.open()
    await store.put_kernels([KernelRow("k", "python3")])
    space = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (space.f_bavail * space.f_bsize))
    await unreachable(store)
    (small_disk / "filler").unlink()
    await store.put_kernels([KernelRow("x", "python3")])
    assert [one.id for one in await store.kernels()] == ["k", "x"]
    await store.close()


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
input()
"""


async def test_a_file_that_another_process_has_locked(store: SQLiteStore) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, store.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    await unreachable(store)
    await holder.communicate(b"\n")
    await store.put_kernels([KernelRow("k", "python3")])
    assert [one.id for one in await store.kernels()] == ["k"]


async def test_a_call_is_bounded_and_so_is_what_waits(store: SQLiteStore) -> None:
    slow = SQLiteStore(store.path, busy_timeout_s=60, call_timeout_s=0.3)
    await slow.open()
    lock = connect(store.path)
    lock.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(
        *(slow.put_kernels([KernelRow(str(number), "python3")]) for number in range(1000)), return_exceptions=True
    )
    assert {type(one) for one in results} == {StoreUnreachable}
    lock.execute("ROLLBACK")
    lock.close()
    await slow.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from fps_kernels.store.model import KernelRow, Launched, SessionRow
from fps_kernels.store.sqlite_store import SQLiteStore

async def write():
    store = SQLiteStore(Path(sys.argv[1]))
    await store.open()
    for number in range(1_000_000):
        size = Launched(cwd="x" * (number % 50_000))
        await store.put_kernels([KernelRow(f"{one}{number}", "p", launched=size) for one in "ab"], [f"a{number - 3}"])
        print(number, flush=True)

asyncio.run(write())
"""


@pytest.mark.parametrize("lines", [3, 20, 77])
async def test_a_writer_that_is_killed_leaves_whole_transactions(tmp_path: Path, lines: int) -> None:
    store = SQLiteStore(tmp_path / "store.sqlite")
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, store.path, stdout=subprocess.PIPE, limit=2**24
    )
    assert writer.stdout is not None
    for _ in range(lines):
        assert await writer.stdout.readline()
    writer.kill()
    told = lines - 1 + (await writer.stdout.read()).count(b"\n")
    await writer.wait()
    await store.open()
    found = {one.id for one in await store.kernels()}
    await store.close()
    last = max(int(one[1:]) for one in found)
    assert last in (told, told + 1)  # it may not have come to tell of the last one
    assert found == {f"b{number}" for number in range(last + 1)} | {f"a{last - one}" for one in range(3)}


async def refusal(path: Path) -> str:
    with pytest.raises(BadOption) as refused:
        await SQLiteStore(path, busy_timeout_s=0.1).open()
    assert "\n" not in refused.value.message
    assert refused.value.message.startswith(f"state_dir: {path} cannot be used: ")
    return refused.value.message


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow("k", "python3")])
    await store.close()
    connection = connect(store.path)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", [str(VERSION + 1)])
    connection.close()
    before = store.path.read_bytes()
    assert f"its tables are {VERSION + 1}, ours are {VERSION}" in await refusal(store.path)
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"])
async def test_garbage_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "remove it" in await refusal(path)
    assert path.read_bytes() == content


async def test_garbage_in_the_middle_of_the_file_is_told(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow(str(number), "python3", reason="x" * 3000) for number in range(50)])
    await store.close()
    content = store.path.read_bytes()
    store.path.write_bytes(content[:-8192] + b"\xff" * 8192)  # the first pages have the tables' names
    broken = SQLiteStore(store.path)
    await broken.open()
    with pytest.raises(StoreUnreachable):
        await broken.kernels()
    await broken.close()


async def test_a_row_that_cannot_be_read_hides_no_other(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    await store.put_kernels([KernelRow(one, "python3", launched=Launched(cwd="secret")) for one in "abcd"])
    connection = connect(store.path)
    connection.execute("UPDATE kernel SET phase = 'dancing' WHERE id = 'a'")
    connection.execute("UPDATE kernel SET sealed = X'00FF' WHERE id = 'b'")
    connection.execute("UPDATE kernel SET process = '[]' WHERE id = 'c'")
    connection.close()
    assert [(one.id, one.process) for one in await store.kernels()] == [("c", None), ("d", None)]
    assert caplog.text.count("cannot be read") == 2
    assert "secret" not in caplog.text


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (a)")
    connection.commit()
    connection.close()
    path.chmod(0o600)
    before = path.read_bytes()
    assert "is a database of another program" in await refusal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to("elsewhere"), "symbolic links"),
        (lambda path: os.mkfifo(path, 0o600), "Not a regular file"),
        (lambda path: (path.touch(), path.chmod(0o644)), "Others can read"),
    ],
    ids=["folder", "link", "fifo", "open"],
)
async def test_what_is_no_private_file_is_refused(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    make(tmp_path / "store.sqlite")
    assert why in await refusal(tmp_path / "store.sqlite")
    assert not (tmp_path / "elsewhere").exists()


async def test_a_file_that_was_removed_is_made_anew(store: SQLiteStore) -> None:
    await store.put_kernels([KernelRow("k", "python3")])
    for path in store.path.parent.iterdir():
        path.unlink()
    await store.put_kernels([KernelRow("x", "python3")])
    assert [one.id for one in await store.kernels()] == ["x"]
    assert store.files == 2


async def test_a_store_that_is_closed_says_so(store: SQLiteStore) -> None:
    await store.close()
    await unreachable(store)
