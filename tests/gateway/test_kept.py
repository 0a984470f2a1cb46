"""Gateways that write down what they have, and what the next one makes of it."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from pathlib import Path

from ..support.client import Client
from ..support.gateways import COMMAND, environment, option
from ..support.kept_gateways import KeptGateways
from ..support.nursery import nursery

KEEP = option("keep_kernels", "crash")


async def test_the_table_of_kernels_says_whose_they_are(kept_gateways: KeptGateways) -> None:
    first = kept_gateways.begin()
    async with Client(first.url) as client:
        kernel_id = (await client.start_session("a.ipynb"))["kernel"]["id"]
    process = first.process_of(kernel_id)
    [_, line] = kept_gateways.command("kernels").splitlines()
    for word in (kernel_id, "tiny_plain", str(process.pid), "a.ipynb", f"pid {first.process.pid}", first.url):
        assert word in line
    kept_gateways.kill(first)
    assert re.search(rf"{kernel_id} .* {process.pid} .* none$", kept_gateways.command("kernels").splitlines()[1])
    second = kept_gateways.begin()
    assert f"pid {second.process.pid}" in kept_gateways.command("kernels")
    assert second.stop() == 0
    assert kept_gateways.command("kernels") == "No kernels are kept\n"


async def test_by_default_nothing_is_written_down(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin(keep="never")
    async with Client(gateway.url) as client:
        await client.start_session("a.ipynb", name="tiny_plain")
    assert not kept_gateways.state.exists()


def break_store(folder: Path) -> sqlite3.Connection:
    """Lock the store, as a backup of it may do."""
    lock = sqlite3.connect(folder / "state" / "store.sqlite", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    return lock


async def test_without_a_store_requests_are_503_and_kernels_go_on(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        session = await client.start_session("a.ipynb", name="tiny_plain")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        lock = break_store(kept_gateways.base)
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
    done = nursery.run([COMMAND, "--port=0", *options], env=environment(folder), cwd=folder, timeout=60)
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
