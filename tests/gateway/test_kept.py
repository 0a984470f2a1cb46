"""Gateways that write down what they have, and what the next one makes of it."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, Gateway, environment, option
from ..support.waits import until

Begin = Callable[..., Gateway]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """begin(*options) starts a gateway; all have the same folders, as one that is started again has."""
    made: list[Gateway] = []

    def start(*options: str) -> Gateway:
        listing = "--JupyterWebsocketPersonality.list_kernels=True"
        gateway = Gateway(tmp_path, option("state_dir", tmp_path / "state"), listing, *options)
        made.append(gateway)
        gateway.wait_ready()
        return gateway

    yield start
    for gateway in made:
        gateway.stop()


def table(folder: Path) -> list[str]:
    """The lines that `fps-kernels kernels` prints."""
    command = [COMMAND, "kernels", "--state-dir", str(folder / "state")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


KEEP = option("keep_kernels", "crash")


async def test_a_gateway_that_is_killed_leaves_its_kernels_to_the_next(begin: Begin, tmp_path: Path) -> None:
    first = begin(KEEP)
    async with Client(first.url) as client:
        session = await client.start_session("a.ipynb", name="tiny_plain")
        kernel_id = session["kernel"]["id"]
        await client.until_kernel(kernel_id, lambda kernel: kernel["execution_state"] == "idle")
    process = first.process_of(kernel_id)
    [_, line] = table(tmp_path)
    for word in (kernel_id, "tiny_plain", str(process.pid), "a.ipynb", f"pid {first.process.pid}", first.url):
        assert word in line
    first.stop(signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(process.pid))  # without a keeper, they end with their server
    assert re.search(rf"{kernel_id} .* gone .* none$", table(tmp_path)[1])
    second = begin(KEEP)
    async with Client(second.url) as client:
        [found] = await client.kernels()
        assert (found["id"], found["execution_state"]) == (kernel_id, "dead")
        assert found["reason"] == "The kernel died while no server was running"
        [again] = (await client.http.get("/api/sessions")).json()
        assert (again["id"], again["path"], again["kernel"]["id"]) == (session["id"], "a.ipynb", kernel_id)
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
    assert f"pid {second.process.pid}" in table(tmp_path)[1]
    assert second.stop() == 0
    assert table(tmp_path) == ["No kernels are kept"]


async def test_by_default_nothing_is_written_down(begin: Begin, tmp_path: Path) -> None:
    gateway = begin()
    async with Client(gateway.url) as client:
        await client.start_session("a.ipynb", name="tiny_plain")
    assert not (tmp_path / "state").exists()


def break_store(folder: Path) -> sqlite3.Connection:
    """Lock the store, as a backup of it may do."""
    lock = sqlite3.connect(folder / "state" / "store.sqlite", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    return lock


async def test_without_a_store_requests_are_503_and_kernels_go_on(begin: Begin, tmp_path: Path) -> None:
    gateway = begin(KEEP)
    async with Client(gateway.url) as client:
        session = await client.start_session("a.ipynb", name="tiny_plain")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        lock = break_store(tmp_path)
        requests: list[tuple[str, str, object]] = [
            ("POST", "/api/kernels", {"name": "tiny_plain"}),
            ("DELETE", f"/api/kernels/{kernel_id}", None),
            ("PATCH", f"/api/sessions/{session['id']}", {"path": "b.ipynb"}),
            ("DELETE", f"/api/sessions/{session['id']}", None),
        ]
        for method, path, body in requests:
            answer = await client.http.request(method, path, json=body, timeout=30)
            message = answer.json()["message"]
            assert (answer.status_code, message) == (503, "The store of kernels cannot be reached")
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        assert len(await client.kernels()) == 1
        lock.close()
        await client.start()
    assert gateway.log.count("cannot be reached") >= 1
    assert "Traceback" not in gateway.log


def refused(folder: Path, *options: str) -> str:
    """The one line with which a gateway does not start."""
    done = subprocess.run(
        [COMMAND, "--port=0", *options], capture_output=True, text=True, timeout=60, env=environment(folder), cwd=folder
    )
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


def test_a_wrong_value_is_one_line(tmp_path: Path) -> None:
    assert "sometimes" in refused(tmp_path, option("keep_kernels", "sometimes"))
    assert "orphan_timeout_s=-1" in refused(tmp_path, option("orphan_timeout_s", -1))
    done = subprocess.run(
        [COMMAND, "--port=0"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(tmp_path, KG_KEEP_KERNELS="sometimes"),
        cwd=tmp_path,
    )
    assert done.stderr == "fps-kernels: KG_KEEP_KERNELS='sometimes': not one of never, crash, always\n"


def test_a_folder_or_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    where = option("state_dir", state)
    assert "others can look into it (mode 0755)" in refused(tmp_path, KEEP, where)
    state.chmod(0o700)
    (state / "store.sqlite").write_bytes(b"garbage" * 1000)
    (state / "store.sqlite").chmod(0o600)
    assert "it is not a database" in refused(tmp_path, KEEP, where)
