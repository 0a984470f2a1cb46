"""`transport=ipc`: kernels that are talked to over sockets in the folder of connection files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, Gateway, environment

IPC = "--KernelManager.transport=ipc"


def sockets(gateway: Gateway) -> list[Path]:
    return [path for path in gateway.runtime.rglob("*") if path.is_socket()]


@pytest.mark.parametrize("name", ["tiny_plain", "tiny_curve"])
async def test_the_sockets_of_a_kernel_are_beside_its_file_and_end_with_it(begin: Begin, name: str) -> None:
    gateway = begin(IPC, "--JupyterWebsocketPersonality.list_kernels=True")
    async with Client(gateway.url) as client:
        kernel = await client.start(name)
        info = json.loads((gateway.runtime / f"kernel-{kernel}.json").read_text())
        assert (info["transport"], bool(info.get("curve_publickey"))) == ("ipc", name == "tiny_curve")
        first = sockets(gateway)
        ports = [info[f"{channel}_port"] for channel in ("shell", "iopub", "stdin", "control", "hb")]
        assert sorted(map(str, first)) == sorted(f"{info['ip']}-{port}" for port in ports)
        assert gateway.runtime.stat().st_mode & 0o777 == 0o700
        async with await client.connect(kernel) as socket:
            psutil.Process(int(await client.evaluate(kernel, "os.getpid()"))).kill()
            await socket.until_status("restarting")
        assert await client.evaluate(kernel, "6 * 7") == "42"
        second = sockets(gateway)
        assert len(second) == 5
        assert not set(second) & set(first)
        assert (await client.http.delete(f"/api/kernels/{kernel}")).status_code == 204
        assert sockets(gateway) == []
        await client.start(name)
    assert gateway.stop() == 0
    assert (sockets(gateway), gateway.connection_files(), gateway.kernel_processes()) == ([], [], [])


async def test_a_kernel_that_does_not_start_leaves_no_sockets(begin: Begin) -> None:
    gateway = begin(IPC)
    async with Client(gateway.url) as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_exits"})
        assert response.status_code == 500
    assert (sockets(gateway), gateway.connection_files()) == ([], [])


def refusal(tmp_path: Path, command: list[str], folder: Path) -> str:
    """What the command says when connection files are in the folder."""
    environ = environment(tmp_path, JUPYTER_RUNTIME_DIR=str(folder))
    done = subprocess.run(command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    return line


@pytest.mark.parametrize("letter", ["x", "é"])
def test_paths_that_are_too_long_for_sockets_are_named(tmp_path: Path, letter: str) -> None:
    folder = tmp_path / (letter * 50) / ("y" * 50)
    line = refusal(tmp_path, [COMMAND, IPC, "--port=0"], folder)
    size = len(os.fsencode(folder)) + len("/ipc-01234567-5")
    assert f"transport=ipc: the paths of sockets in {folder} would have {size} bytes, more than the 107" in line
    assert "JUPYTER_RUNTIME_DIR" in line


def test_a_lab_names_them_too(tmp_path: Path) -> None:
    command = [COMMAND, "lab", "--port=0", "--set", "kernels.transport=ipc"]
    assert "kernels.transport=ipc: the paths of sockets in" in refusal(tmp_path, command, tmp_path / ("x" * 100))


async def test_the_longest_path_that_is_possible_works(begin: Begin, tmp_path: Path) -> None:
    space = 107 - len(f"{tmp_path}/") - len("/ipc-01234567-5")
    gateway = begin(IPC, env={"JUPYTER_RUNTIME_DIR": str(tmp_path / ("x" * space))})
    async with Client(gateway.url) as client:
        assert await client.evaluate(await client.start(), "6 * 7") == "42"
