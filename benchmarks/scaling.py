"""Measure what a kernel and a client cost, from one to 200 kernels and 500 clients, and where one process ends.

usage: python benchmarks/scaling.py [--series kernels,…] [--json FILE] [--chart docs/images/scaling.png]
       python benchmarks/scaling.py --series "" --json FILE        only the chart, of an earlier run

Each point has a server of its own, `fps-kernels` of the environment that runs this, on 127.0.0.1, with kernels that
cost almost nothing. With --external these are in one process, found by their connection files (`fps-kernels lab`).
Besides what is counted, there is one kernel with one client, whose echoes are timed: what others notice of the load.

  idle     2 s without a message
  paced    deliveries at a rate that is the same for all points, whoever gets them; then again, with echoes
  flood    as fast as kernels, server and clients can

The CPU is that of the server's process alone, user and system. All numbers are those of one run: on a machine that
does nothing else they repeat to a tenth, the rates of the flood to a third.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import uvloop
from load.chart import draw
from load.client import Client
from load.server import Server

IDLE_S = 2.0
SETTLE_S = 0.5
PACED_S = 3.0
PACED_RATE = 2_000
"""Deliveries per second: one server's CPU is far from full, and 10 ms, the clock of its CPU time, are nothing to it."""
FLOOD_DELIVERIES = 100_000
FLOOD_TIMEOUT_S = 60
RATES = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 40_000)
ECHO_S = 2.0
ECHOES_MIN = 20
ECHO_PAUSE_S = 0.005
CONNECTING = 32
"""Handshakes at the same time."""


@dataclass(frozen=True, slots=True)
class Point:
    """clients: in all, dealt out to the kernels in turn. rate: deliveries per second while paced.

    external: kernels in one process, as with the option.
    """

    series: str
    kernels: int
    clients: int
    rate: int = PACED_RATE
    external: bool = False


SERIES = {
    "kernels": [Point("kernels", number, number) for number in (1, 10, 50, 100, 200)],
    "one": [Point("one", 1, number) for number in (1, 16, 100, 250, 500)],
    "spread": [Point("spread", min(number, 50), number) for number in (1, 16, 100, 250, 500)],
    "rates": [Point("rates", 50, 50, rate, external=True) for rate in RATES],
}
"""kernels: with a client each. one: clients of a single kernel. spread: over 50. rates: ever more messages, of
kernels in one process: 50 processes that wake up for each message need more of two cores than the server does."""


async def connect(server: Server, kernel_ids: Sequence[str]) -> list[Client]:
    """A client for each of the ids, in their order."""
    limit = asyncio.Semaphore(CONNECTING)

    async def one(kernel_id: str) -> Client:
        async with limit:
            return await Client.connect(server.url, kernel_id)

    return list(await asyncio.gather(*map(one, kernel_ids)))


def per_delivery(server: Server, clients: Sequence[Client]) -> Any:
    """Call it before, and what it returns after: seconds, CPU seconds, messages delivered to all."""
    began, used = time.perf_counter(), server.usage().cpu_s
    had = sum(client.received for client in clients)

    def end() -> tuple[float, float, int]:
        seconds, cpu_s = time.perf_counter() - began, server.usage().cpu_s - used
        return seconds, cpu_s, sum(client.received for client in clients) - had

    return end


async def echoes(probe: Client) -> dict[str, float]:
    """Milliseconds of a client of its own, while others have theirs."""
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < ECHO_S or len(times) < ECHOES_MIN:
        times.append(1000 * await probe.echo())
        await asyncio.sleep(ECHO_PAUSE_S)
    cuts = quantiles(times, n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


async def paced(server: Server, point: Point, speaking: Sequence[Client], all_clients: Sequence[Client], probe: Client
                ) -> dict[str, Any]:  # fmt: skip
    rate = point.rate / point.clients  # of each kernel
    count = max(1, round(rate * (SETTLE_S + PACED_S + ECHO_S)))
    for client in all_clients:
        client.expect(count)
    for client in speaking:
        client.execute(f"pace {count} {rate}", lines=count)
    await asyncio.sleep(SETTLE_S)
    end = per_delivery(server, all_clients)
    await asyncio.sleep(PACED_S)
    seconds, cpu_s, delivered = end()
    under_load = await echoes(probe)
    await asyncio.gather(*(client.done() for client in all_clients))
    return {
        "delivered_per_s": delivered / seconds,
        "cpu_percent": 100 * cpu_s / seconds,
        "cpu_us": 1e6 * cpu_s / max(1, delivered),
        "echo": under_load,
    }


async def flood(server: Server, point: Point, speaking: Sequence[Client], all_clients: Sequence[Client]
                ) -> dict[str, Any]:  # fmt: skip
    count = max(1, FLOOD_DELIVERIES // point.clients)
    for client in all_clients:
        client.expect(count)
    end = per_delivery(server, all_clients)
    began = time.perf_counter()
    for client in speaking:
        client.execute(f"flood {count}", lines=count)
    waiting = (client.done(FLOOD_TIMEOUT_S) for client in all_clients)
    late = [result for result in await asyncio.gather(*waiting, return_exceptions=True) if result is not None]
    _, cpu_s, delivered = end()
    took = max(client.last_line_at for client in all_clients) - began
    return {
        "delivered_per_s": sum(client.lines for client in all_clients) / took if took > 0 else 0.0,
        "cpu_us": 1e6 * cpu_s / max(1, delivered),
        "missing": count * len(all_clients) - sum(client.lines for client in all_clients),
        "clients_without_all": len(late),
    }


async def measure(point: Point) -> dict[str, Any]:
    with Server(external=point.external) as server:
        await asyncio.sleep(0.5)
        bare = server.usage()
        began = time.perf_counter()
        kernel_ids = await asyncio.to_thread(server.start_kernels, point.kernels)
        start_s = time.perf_counter() - began
        [probe] = await connect(server, await asyncio.to_thread(server.start_kernels, 1))
        await probe.echo()
        with_kernels = server.usage()
        all_clients = await connect(server, [kernel_ids[n % point.kernels] for n in range(point.clients)])
        speaking = all_clients[: point.kernels]
        for client in speaking:
            await client.echo()
        with_clients = server.usage()
        end = per_delivery(server, [])
        await asyncio.sleep(IDLE_S)
        seconds, cpu_s, _ = end()
        quiet = await echoes(probe)
        result = {
            "series": point.series,
            "kernels": point.kernels,
            "clients": point.clients,
            "rate": point.rate,
            "start_s": start_s,
            "idle": {"cpu_percent": 100 * cpu_s / seconds, "echo": quiet},
            "rss_mib": [bare.rss_mib, with_kernels.rss_mib, with_clients.rss_mib],
            "fds": [bare.fds, with_kernels.fds, with_clients.fds],
            "threads": [bare.threads, with_kernels.threads, with_clients.threads],
            "paced": await paced(server, point, speaking, all_clients, probe),
        }
        if point.series != "rates":
            result["flood"] = await flood(server, point, speaking, all_clients)
            result["rss_after_flood_mib"] = server.usage().rss_mib
        for client in (probe, *all_clients):
            client.close()
        return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", default=",".join(SERIES), help="of %(default)s; those of an earlier run are kept")
    parser.add_argument("--largest", type=int, default=500, help="leave out points with more kernels or clients")
    parser.add_argument("--external", action="store_true", help="all kernels in one process that others started")
    parser.add_argument("--json", type=Path, default=Path("scaling.json"))
    parser.add_argument("--chart", type=Path, default=Path("scaling.png"))
    return parser.parse_args()


def main() -> int:
    options = parse()
    wanted = [name for name in options.series.split(",") if name]
    if unknown := set(wanted) - SERIES.keys():
        sys.exit(f"no such series: {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it; docs/scaling.md counts them
    points = json.loads(options.json.read_text())["points"] if options.json.exists() else []
    points = [point for point in points if point["series"] not in wanted]
    for point in [point for name in wanted for point in SERIES[name]]:
        if max(point.kernels, point.clients) > options.largest:
            continue
        began = time.perf_counter()
        result = uvloop.run(measure(replace(point, external=point.external or options.external)))
        points.append(result)
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "points": points}, indent=1))
        print(f"{time.perf_counter() - began:5.1f} s {json.dumps(result)}", flush=True)
    draw(points, options.chart)
    return 0


if __name__ == "__main__":
    sys.exit(main())
