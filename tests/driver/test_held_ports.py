"""Ports that another process takes between their choice and the moment the kernel listens there."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kernel_driver.connection_file import CHANNEL_NAMES
from fps_kernels.kernel_driver.held_ports import POSSIBLE, HeldPorts

from ..support.drivers import Drivers, run
from ..support.keepers import Keepers
from ..support.kernelspecs import KERNEL, add_kernelspec

pytestmark = pytest.mark.usefixtures("bounded")
IPYKERNEL = ("-m", "ipykernel_launcher", "-f")

ONCE_TAKEN = """
import json, os, socket, sys
kept, channel, *command, file = sys.argv[1:]
if not os.path.exists(kept):
    with open(file) as source, open(kept, "w") as copy:
        info = json.load(source)
        json.dump(info, copy)
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    thief.bind((info["ip"], info[channel + "_port"]))
    thief.listen()
    thief.set_inheritable(True)  # it listens as long as the kernel's process lives
os.execv(sys.executable, [sys.executable, *command, file])
"""
"""The first time, one of the kernel's ports is taken: where to copy the connection file to, the channel, the kernel."""

WITHOUT_REUSE = """
import json, os, socket, sys
kernel, tried, file = sys.argv[1:]
with open(tried, "a") as log, open(file) as source:
    info = json.load(source)
    print(info["hb_port"], file=log)
for channel in ("shell", "iopub", "stdin", "control", "hb"):
    with socket.socket() as own:
        own.bind((info["ip"], info[channel + "_port"]))
os.execv(sys.executable, [sys.executable, kernel, "plain", file])
"""
"""A kernel whose library does not set SO_REUSEADDR."""


def add(share: Path, *argv: str) -> str:
    command = [sys.executable, "-c", *argv, "{connection_file}"]
    add_kernelspec(share, "mine", {"argv": command, "display_name": "Mine", "language": "python"})
    return "mine"


@pytest.mark.parametrize("channel", CHANNEL_NAMES)
async def test_a_kernel_that_lost_a_port_gets_others(kernels: Drivers, tmp_path: Path, channel: str) -> None:
    """ipykernel ends without shell, control or stdin; without iopub it hangs, without hb it seems to be well."""
    kept = tmp_path / "kept.json"
    driver = kernels.make(add(kernels.share, ONCE_TAKEN, str(kept), channel, *IPYKERNEL))
    await driver.start()
    [file] = kernels.connection_dir.glob("*.json")
    first, second = json.loads(kept.read_text()), json.loads(file.read_text())
    ports = [f"{name}_port" for name in CHANNEL_NAMES]
    # Where Python is slow to print a traceback, a kernel has answered before it says that its heartbeat has failed.
    if channel != "hb" or first["key"] != second["key"]:
        assert not {first[port] for port in ports} & {second[port] for port in ports}
    assert await run(driver.client, "print(6 * 7)") == "42\n"


async def test_nor_does_a_kernel_that_is_kept_stay_without_a_port(
    keepers: Keepers, keeper: KeeperClient, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.json"
    driver = await keepers.start(keeper, add(tmp_path / "share", ONCE_TAKEN, str(kept), "iopub", *IPYKERNEL))
    assert kept.exists()
    assert await run(driver.client, "print(6 * 7)") == "42\n"


async def test_a_kernel_that_shares_no_port_is_given_its_own(kernels: Drivers, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    driver = kernels.make(add(kernels.share, WITHOUT_REUSE, str(KERNEL), str(tried)))
    await driver.start()
    assert await run(driver.client, "stream(str(6 * 7))") == "42"
    assert len(tried.read_text().split()) == (2 if POSSIBLE else 1)


@pytest.mark.skipif(not POSSIBLE, reason="only Linux holds a port for another process")
@pytest.mark.parametrize(("family", "ip"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_a_port_is_held_until_it_is_released(family: socket.AddressFamily, ip: str) -> None:
    with socket.socket(family) as chosen:
        chosen.bind((ip, 0))
        port = chosen.getsockname()[1]
    held = HeldPorts(ip, [port])
    with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
        other.bind((ip, port))
    with socket.socket(family) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kernel.bind((ip, port))
        kernel.listen()
        HeldPorts(ip, [port]).release()  # is taken: nothing is held, and nobody is hurt
        held.release()
        held.release()
        with socket.create_connection((ip, port), timeout=5):
            kernel.accept()[0].close()
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((ip, port))
