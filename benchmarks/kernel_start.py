"""Time the start of an ipykernel: POST to the first execute_reply, of a kernel that was kept ready and of a new one.

usage: python benchmarks/kernel_start.py [--rounds 10] [--json FILE]

Starts a gateway of its own on 127.0.0.1, with one kernel kept ready, and stops it at the end. In turns: a start that
takes the kernel which is ready, after waiting until there is one; a start that cannot take it, as it sets an
environment variable that Python reads at its launch; and a restart that takes one. Prints the medians, in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.client import Client
from tests.support.gateways import Gateway, gateways, option

READY = "a prewarmed python3 kernel is ready"
TAKEN = ": using a prewarmed kernel"


async def first_reply(client: Client, kernel_id: str) -> None:
    async with await client.connect(kernel_id) as socket:
        await socket.run("1")


async def until_ready(gateway: Gateway, count: int) -> None:
    while gateway.log.count(READY) < count:  # noqa: ASYNC110 - a file has no events
        await asyncio.sleep(0.01)


async def measure(gateway: Gateway, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"kept ready": [], "new": [], "restart, kept ready": []}
    async with Client(gateway.url) as client:
        for number in range(rounds):
            await until_ready(gateway, 2 * number + 1)
            began = time.perf_counter()
            kernel_id = await client.start("python3")
            await first_reply(client, kernel_id)
            times["kept ready"].append(time.perf_counter() - began)

            await until_ready(gateway, 2 * number + 2)
            began = time.perf_counter()
            (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()
            await first_reply(client, kernel_id)
            times["restart, kept ready"].append(time.perf_counter() - began)
            await client.http.delete(f"/api/kernels/{kernel_id}")

            began = time.perf_counter()
            kernel_id = await client.start("python3", env={"PYTHONHASHSEED": "0"})
            await first_reply(client, kernel_id)
            times["new"].append(time.perf_counter() - began)
            await client.http.delete(f"/api/kernels/{kernel_id}")
    assert gateway.log.count(TAKEN) == 2 * rounds, "not all were kept ready"
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--json", type=Path, help="where to write the medians, too")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, gateways(Path(folder)) as begin:
        gateway = begin(option("prewarm", "python3=1"), env={"KG_ENV_WHITELIST": "PYTHONHASHSEED"})
        times = asyncio.run(measure(gateway, arguments.rounds))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({name: median(values) for name, values in times.items()}))
    for name, values in times.items():
        print(f"{name:20} {median(values):.3f}   {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    main()
