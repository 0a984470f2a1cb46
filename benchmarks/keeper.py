"""Time a kernel's messages by way of a keeper, and in process: an echo, a flood, large messages, a start.

usage: python benchmarks/keeper.py [--rounds 3] [--lines 50000]

Both ways in turns, with the tiny kernel of the tests and a client in this process. Prints the medians, and what the
processor had to do for the flood, in this process and in the keeper's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.launcher import KernelspecLauncher
from tests.support.drivers import Inbox, execute, message_frames
from tests.support.keepers import Keepers
from tests.support.kernelspecs import install_kernelspecs

ECHOES = 500
LARGE_BYTES = 16 * 1024 * 1024


async def echo(client: KernelClient) -> float:
    """The median of the time from a request to its reply, in milliseconds."""
    times = []
    for _ in range(ECHOES):
        began = time.perf_counter()
        await client.request("shell", "is_complete_request", {"code": ""}, timeout_s=10)
        times.append(time.perf_counter() - began)
    return median(times) * 1e3


async def flood(client: KernelClient, lines: int) -> float:
    """Lines a second."""
    done = asyncio.Event()
    client.add_batch_listener(lambda channel, messages: done.set() if channel == "shell" else None)
    began = time.perf_counter()
    execute(client, f"for n in range({lines}): stream('0123456789' * 5)")
    await done.wait()
    return lines / (time.perf_counter() - began)


async def large(client: KernelClient) -> float:
    """MiB a second, of a message that the kernel sends back."""
    inbox = Inbox(client, ["comm_msg"])
    began = time.perf_counter()
    frames = message_frames("comm_msg", {"comm_id": "c", "data": {}}, buffers=[bytes(LARGE_BYTES)])
    client.send("shell", frames)
    await inbox.until_type("comm_msg")
    client.remove_listener(inbox.listener)
    return 2 * LARGE_BYTES / (1 << 20) / (time.perf_counter() - began)


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def measure(keepers: Keepers, keeper: KeeperClient | None, lines: int) -> dict[str, float]:
    driver = keepers.make(keeper or KeeperClient(keepers.state))
    if keeper is None:
        options = driver._launcher._options  # type: ignore[attr-defined]
        client = KernelClient(driver.kernel_id, keepers.context)
        driver = KernelDriver(client, KernelspecLauncher(options, keepers.specs))
    began = time.perf_counter()
    await driver.start()
    found = {"start, ms": (time.perf_counter() - began) * 1e3}
    await echo(driver.client)
    found["echo p50, ms"] = await echo(driver.client)
    pid = keepers.pid() if keeper is not None else None
    mine, its = cpu(os.getpid()), cpu(pid) if pid else 0.0
    found["flood, lines/s"] = await flood(driver.client, lines)
    found["CPU here, s/100,000"] = (cpu(os.getpid()) - mine) * 100_000 / lines
    found["CPU keeper, s/100,000"] = (cpu(pid) - its if pid else 0.0) * 100_000 / lines
    found["16 MiB there and back, MiB/s"] = await large(driver.client)
    found["keeper RSS, MiB"] = psutil.Process(pid).memory_info().rss / (1 << 20) if pid else 0.0
    await driver.shutdown(now=True)
    if keeper is not None:
        keeper.tell("forget", kernel=driver.kernel_id)
    return found


async def run(rounds: int, lines: int, folder: Path) -> None:
    found: dict[str, list[dict[str, float]]] = {"in process": [], "kept": []}
    async with Keepers(folder) as keepers:
        keeper = await keepers.connect()
        for _ in range(rounds):
            found["in process"].append(await measure(keepers, None, lines))
            found["kept"].append(await measure(keepers, keeper, lines))
        await keeper.leave()
        keepers._drivers.clear()
    print(f"{'':32}{'in process':>12}{'kept':>12}")
    for name in found["kept"][0]:
        values: list[Any] = [median(one[name] for one in found[way]) for way in found]
        print(f"{name:32}{values[0]:12,.2f}{values[1]:12,.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        install_kernelspecs(Path(folder) / "share")
        os.environ["JUPYTER_PATH"] = str(Path(folder) / "share")
        uvloop.run(run(options.rounds, options.lines, Path(folder)))


if __name__ == "__main__":
    main()
