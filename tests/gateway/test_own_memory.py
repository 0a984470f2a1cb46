"""The server's environment and memory, which kernels of the same user may not read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, environment, option
from ..support.ports import free_port
from ..support.waits import until

UNPRIVILEGED = """
import ctypes, os, sys
for capability in range(64):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: root may read everything
os.execvp(sys.argv[1], sys.argv[1:])
"""
READ = """
import sys
for name in ("environ", "mem", "maps"):
    try:
        with open(f"/proc/{sys.argv[1]}/{name}", "rb"):
            print("open")
    except PermissionError:
        print("closed")
"""


def unprivileged(*command: str) -> list[str]:
    """A command that runs it without what makes root special; anybody else is as before."""
    return [sys.executable, "-c", UNPRIVILEGED, *command]


def read_by_another_process(pid: int) -> list[str]:
    command = unprivileged(sys.executable, "-c", READ, str(pid))
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(params=[[], ["--debug"]], ids=["usual", "debug"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, bool]]:
    """The process of a gateway without privileges, its URL, and whether it serves with --debug."""
    port = free_port()
    options = [*request.param, option("default_kernel_name", "tiny_plain"), option("port", port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            unprivileged(COMMAND, *options), cwd=tmp_path, env=environment(tmp_path), stdout=log, stderr=log
        )
    yield process, f"http://127.0.0.1:{port}", bool(request.param)
    process.terminate()
    process.wait(30)


async def test_another_process_of_the_user_cannot_read_them(
    gateway: tuple[subprocess.Popen[bytes], str, bool], tmp_path: Path
) -> None:
    process, url, debug = gateway
    await until(lambda: re.search("Serving at", (tmp_path / "log").read_text()) is not None, 60)
    assert read_by_another_process(process.pid) == ["open" if debug else "closed"] * 3
    async with Client(url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "1 + 1") == "2"
        [kernel] = [one for one in psutil.Process(process.pid).children() if kernel_id in str(one.cmdline())]
        # A kernel is a program of its own: it can be debugged as before.
        assert read_by_another_process(kernel.pid) == ["open"] * 3
