"""Where the server's CPU goes: sample it with py-spy under three loads, and put a table into docs/performance.md.

usage: python benchmarks/shares.py [--seconds 8] [--document docs/performance.md]

The server's main thread is sampled, with the C code that it is in; the threads of libzmq, which py-spy does not see,
are what Linux says that they used.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import psutil
import uvloop
from load.client import Client
from load.document import DOCS, put_between
from load.server import Server

PY_SPY = str(Path(sys.executable).parent / "py-spy")
SAMPLES_PER_S = 200
FLOOD = 20_000
BEGIN, END = "<!-- table of shares.py -->", "<!-- end of the shares -->"

IO_THREADS = "libzmq's own threads: the sockets to kernels"
SYSTEM = "system calls: the WebSockets' sockets, epoll"
ZMQ = "pyzmq and libzmq, on the loop's thread"
UNKNOWN = "anything else"
OWNERS = {
    ZMQ: ("_zmq.", "libzmq", "zmq/"),
    "signatures": ("Signer.", "_hashlib", "hashlib", "libcrypto", "hmac"),
    "headers, routes, log, frames: our Python": ("fps_kernels/",),
    "uvicorn, websockets, Starlette": ("uvicorn/", "websockets/", "starlette/", "fastapi/"),
    "event loop: uvloop, asyncio": ("loop.c", "uvloop", "asyncio", "core.c", "stream.c", "linux.c", "loop-watcher.c"),
}
"""By what is found in a frame, from the innermost outwards."""
SYSTEM_CALLS = (
    "write",
    "writev",
    "sendmsg",
    "send",
    "read",
    "recv",
    "recvmsg",
    "epoll_pwait",
    "epoll_wait",
    "epoll_ctl",
)


def owner(stack: Sequence[str]) -> str:
    """To whom a sample belongs; stack: outermost frame first, each `function (file:line)`."""
    found = next((name for frame in reversed(stack) if (name := _owner_of_frame(frame))), UNKNOWN)
    function, _, file = stack[-1].partition(" (")
    is_call = function.strip("_").removeprefix("libc_") in SYSTEM_CALLS and file.startswith("libc")
    return SYSTEM if is_call and found != ZMQ else found


def _owner_of_frame(frame: str) -> str | None:
    return next((name for name, signs in OWNERS.items() if any(sign in frame for sign in signs)), None)


def shares(samples: Iterable[str]) -> Counter[str]:
    """Of the main thread. samples: lines `frame;frame;… number`."""
    found: Counter[str] = Counter()
    for sample in samples:
        stack, _, number = sample.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" in thread:
            found[owner(frames)] += int(number)
    return found


async def echo(clients: Sequence[Client]) -> int:
    for _ in range(100):
        await clients[0].echo()
    return 100


async def flood(clients: Sequence[Client]) -> int:
    count = FLOOD // len(clients)
    for client in clients:
        client.expect(count)
    clients[0].execute(f"flood {count}", lines=count)
    await asyncio.gather(*(client.done() for client in clients))
    return count * len(clients)


Load = Callable[[Sequence[Client]], Awaitable[int]]
LOADS: dict[str, tuple[Load, int]] = {
    "echo": (echo, 1),
    "flood, 1 client": (flood, 1),
    "flood, 16 clients": (flood, 16),
}
"""What is sampled, with how many clients."""


def thread_times(process: psutil.Process) -> tuple[float, float]:
    """Seconds of the main thread, and of all others."""
    times = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    main = times.pop(process.pid)
    return main, sum(times.values())


async def sample(load: Load, clients: int, seconds: float, file: str) -> float:
    """Have py-spy write its samples to a file; returns the main thread's share of the process's CPU."""
    with Server() as server:
        [kernel_id] = await asyncio.to_thread(server.start_kernels, 1)
        connected = [await Client.connect(server.url, kernel_id) for _ in range(clients)]
        await load(connected)
        process = psutil.Process(server.pid)
        before = thread_times(process)
        command = [PY_SPY, "record", "--native", "--pid", str(server.pid), "--duration", f"{seconds:g}", "--threads",
                   "--rate", str(SAMPLES_PER_S), "--format", "raw", "--output", file]  # fmt: skip
        spy = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = asyncio.create_task(spy.wait())
        began = time.perf_counter()
        while not done.done() and time.perf_counter() - began < seconds:
            await load(connected)
        main, others = (after - then for after, then in zip(thread_times(process), before, strict=True))
        if await done:
            raise RuntimeError("py-spy could not sample the server: it needs the right to trace it")
        for client in connected:
            client.close()
    return main / (main + others)


def measure(load: Load, clients: int, seconds: float) -> dict[str, float]:
    """Shares of the process's CPU, which add up to 1."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples"
        main = uvloop.run(sample(load, clients, seconds, str(file)))
        found = shares(file.read_text().splitlines())
    return {name: number / found.total() * main for name, number in found.items()} | {IO_THREADS: 1 - main}


def table(results: dict[str, dict[str, float]]) -> str:
    rows = [f"| share of the server's CPU | {' | '.join(results)} |", f"| --- |{' ---: |' * len(results)}"]
    for name in (SYSTEM, IO_THREADS, *OWNERS, UNKNOWN):
        rows.append(f"| {name} | {' | '.join(f'{result.get(name, 0):.0%}' for result in results.values())} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md")
    options = parser.parse_args()
    results = {name: measure(load, clients, options.seconds) for name, (load, clients) in LOADS.items()}
    print(table(results))
    put_between(options.document, BEGIN, END, table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
