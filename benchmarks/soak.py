"""Soak a server: kernels that print without end, clients that close and return, and a count of every line.

usage: python benchmarks/soak.py [--minutes 10] [--kernels 20] [--clients 60] [--rate 250]

Starts a `jupyverse` of its own on 127.0.0.1 and stops it at the end. Each kernel prints numbered
lines in cells, one cell after the other, asked for by its first client; all clients of the kernel
watch, and all but the first close and return at random. Reports lines sent, and over all clients
lines missing and doubled, closings that were not read to their end (what they lose is not promised),
and the server's memory after the first minute, every half minute and at the end. Exits with 1 if
anything was missing or doubled.

The rate, in lines per second and kernel, is one that the clients, all in one Python process, can read
on two cores: when they cannot, what waits for them in the server is what is measured as its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import psutil
import websockets

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.conftest import Server
from tests.support.client import Client, Socket, is_status

LINES_PER_CELL = 500
LINES_AT_ONCE = 25
CODE = """
import time
for number in range({first}, {last}):
    stream(f"<{{number}}>")
    if not number % {burst}: time.sleep({pause_s})
"""
CLOSED_ABNORMALLY = 1006
LINE = re.compile(r"<(\d+)>")


class Watcher:
    """One session, over all its connections: which line it expects next."""

    def __init__(self, client: Client, kernel_id: str, session: str) -> None:
        self.client, self.kernel_id, self.session = client, kernel_id, session
        self.next_line = 0
        self.missing = self.doubled = self.received = self.returns = self.broken = 0

    def take(self, message: dict) -> None:
        if message["msg_type"] != "stream":
            return
        for match in LINE.finditer(message["content"]["text"]):
            number = int(match[1])
            self.received += 1
            if number > self.next_line:
                self.missing += number - self.next_line
            elif number < self.next_line:
                self.doubled += 1
                continue
            self.next_line = number + 1

    async def connect(self) -> Socket:
        return await self.client.connect(self.kernel_id, session=self.session, compression=None)

    async def watch(self, until: asyncio.Event) -> None:
        """Read for a while, close with a handshake that is read to its end, come back."""
        while not until.is_set():
            socket = await self.connect()
            self.returns += 1
            stay = asyncio.create_task(asyncio.wait_for(until.wait(), random.uniform(0.5, 5)))
            with contextlib.suppress(websockets.ConnectionClosed):
                reading = asyncio.create_task(self.read(socket))
                await asyncio.wait([stay, reading], return_when=asyncio.FIRST_COMPLETED)
                closing = asyncio.create_task(socket.ws.close())
                await asyncio.wait([closing, reading])
                self.broken += socket.ws.close_code == CLOSED_ABNORMALLY
            await asyncio.gather(stay, return_exceptions=True)

    async def read(self, socket: Socket) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                self.take(await socket.receive(timeout_s=600))
                socket.received.clear()

    async def catch_up(self, line: int) -> None:
        """Connect once more, until the last line has come."""
        async with await self.connect() as socket:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    while self.next_line < line:
                        self.take(await socket.receive())
        self.missing += line - self.next_line


async def print_lines(watcher: Watcher, rate: float, until: asyncio.Event) -> int:
    """Execute cells until it is time; returns how many lines were printed."""
    line = 0
    pause_s = LINES_AT_ONCE / rate
    async with await watcher.connect() as socket:
        while not until.is_set():
            msg_id = await socket.execute(
                CODE.format(first=line, last=line + LINES_PER_CELL, burst=LINES_AT_ONCE, pause_s=pause_s)
            )
            idle = replied = False
            while not (idle and replied):
                message = await socket.receive(timeout_s=120)
                socket.received.clear()
                watcher.take(message)
                if message["parent_header"].get("msg_id") == msg_id:
                    idle |= is_status(message, "idle")
                    replied |= message["msg_type"] == "execute_reply"
            line += LINES_PER_CELL
    return line


async def soak(server: Server, minutes: float, kernels: int, clients: int, rate: float) -> bool:
    process = psutil.Process(server.process.pid)
    until = asyncio.Event()
    began = time.monotonic()
    async with Client(server.url) as client:
        ids = [await client.start() for _ in range(kernels)]
        watchers: dict[str, list[Watcher]] = {
            kernel_id: [Watcher(client, kernel_id, f"soak-{number}-{each}") for each in range(clients // kernels)]
            for number, kernel_id in enumerate(ids)
        }
        for group in watchers.values():  # all are known before the first line comes
            for watcher in group[1:]:
                await (await watcher.connect()).ws.close()
        printing = [asyncio.create_task(print_lines(group[0], rate, until)) for group in watchers.values()]
        watching = [asyncio.create_task(one.watch(until)) for group in watchers.values() for one in group[1:]]
        memory = []
        first = min(60, minutes * 30)
        for moment in (first, *range(int(first) + 30, int(minutes * 60) - 15, 30), minutes * 60):
            await asyncio.sleep(max(0, moment - (time.monotonic() - began)))
            memory.append(process.memory_info().rss / 2**20)
            lines_so_far = sum(group[0].next_line for group in watchers.values())
            print(f"{moment:5.0f} s: {memory[-1]:.1f} MiB, {lines_so_far} lines", flush=True)
        early, late = memory[0], memory[-1]
        until.set()
        lines = await asyncio.gather(*printing)
        await asyncio.gather(*watching)
        for group, printed in zip(watchers.values(), lines, strict=True):
            await asyncio.gather(*(watcher.catch_up(printed) for watcher in group[1:]))
        everyone = [watcher for group in watchers.values() for watcher in group]
        for kernel_id in ids:
            await client.http.delete(f"/api/kernels/{kernel_id}")
    missing = sum(watcher.missing for watcher in everyone)
    doubled = sum(watcher.doubled for watcher in everyone)
    returns, broken = sum(one.returns for one in everyone), sum(one.broken for one in everyone)
    print(f"{minutes:g} minutes, {kernels} kernels, {len(everyone)} clients, {returns} returns, "
          f"{broken} of them after a closing that was not read to its end")  # fmt: skip
    print(f"lines sent: {sum(lines)}; received: {sum(watcher.received for watcher in everyone)}; "
          f"missing: {missing}; doubled: {doubled}")  # fmt: skip
    print(f"memory: {early:.1f} MiB at first, {late:.1f} MiB at the end ({100 * (late / early - 1):+.1f}%)")
    return not missing and not doubled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kernels", type=int, default=20)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--rate", type=float, default=250, help="lines per second and kernel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
        try:
            server.wait_ready()
            good = asyncio.run(soak(server, options.minutes, options.kernels, options.clients, options.rate))
        finally:
            server.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
