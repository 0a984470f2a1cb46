"""Kernels that cost almost nothing, one or many in a process.

usage: python kernel.py CONNECTION_FILE         one kernel, launched by a server
       python kernel.py --external NUMBER FOLDER    so many kernels, whose connection files it writes there

What the code of an execute_request says is done:
    echo                nothing
    flood COUNT         COUNT stream messages, as fast as they can be sent
    pace COUNT RATE     the same at RATE messages per second; the reply comes at once, and the kernel goes on answering
Each numbered line of the output is MARK and 100 characters long. Nothing is dropped: the PUB sockets have no bound.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import zmq

PARENT_CHECK_S = 5
DELIMITER = b"<IDS|MSG>"
MARK = "line "
KINDS = {"shell": zmq.ROUTER, "control": zmq.ROUTER, "stdin": zmq.ROUTER, "iopub": zmq.PUB, "hb": zmq.REP}
INFO = {
    "protocol_version": "5.4",
    "implementation": "load",
    "implementation_version": "1",
    "language_info": {"name": "none", "version": "1", "mimetype": "text/plain", "file_extension": ".txt"},
    "banner": "",
}


class Pace:
    """Stream messages that are still to be sent, and when."""

    def __init__(self, parent: bytes, count: int, rate: float) -> None:
        self.parent = parent
        self.count = count
        self.interval_s = 1 / rate
        # Somewhere in the first interval, lest hundreds of kernels speak at the same moment.
        self.due = time.monotonic() + self.interval_s * os.urandom(1)[0] / 256
        self.sent = 0


class Kernel:
    def __init__(self, context: zmq.Context, connection: dict) -> None:
        self.connection = connection
        self.signature = hmac.new(connection["key"].encode(), digestmod=hashlib.sha256)
        self.session = os.urandom(8).hex()
        self.count = 0
        self.pace: Pace | None = None
        self.running = True
        self.sockets = {name: context.socket(kind) for name, kind in KINDS.items()}
        self.sockets["iopub"].sndhwm = 0
        for name, socket in self.sockets.items():
            port = connection.get(f"{name}_port") or "*"
            socket.bind(f"tcp://{connection['ip']}:{port}")
            connection[f"{name}_port"] = int(socket.last_endpoint.rpartition(b":")[2])

    def pack(self, msg_type: str, parent: bytes, content: bytes) -> list[bytes]:
        self.count += 1
        header = (
            f'{{"msg_id":"{self.session}_{self.count}","msg_type":"{msg_type}","username":"","session":"{self.session}",'
            f'"date":"2026-01-01T00:00:00.000000Z","version":"5.4"}}'
        ).encode()
        signature = self.signature.copy()
        signature.update(header + parent + b"{}" + content)
        return [DELIMITER, signature.hexdigest().encode(), header, parent, b"{}", content]

    def publish(self, msg_type: str, parent: bytes, content: bytes) -> None:
        self.sockets["iopub"].send_multipart([msg_type.encode(), *self.pack(msg_type, parent, content)])

    def print(self, parent: bytes, number: int) -> None:
        text = f"{MARK}{number:<{100 - len(MARK)}}"
        self.publish("stream", parent, b'{"name":"stdout","text":"%s"}' % text.encode())

    def go_on(self, now: float) -> float | None:
        """Send what is due of a pace; returns when the next message is."""
        pace = self.pace
        if pace is None:
            return None
        while pace.due <= now:
            self.print(pace.parent, pace.sent)
            pace.sent += 1
            pace.due += pace.interval_s
            if pace.sent == pace.count:
                self.pace = None
                return None
        return pace.due

    def execute(self, code: str, parent: bytes) -> None:
        command, *numbers = code.split()
        if command == "flood":
            for number in range(int(numbers[0])):
                self.print(parent, number)
        elif command == "pace":
            self.pace = Pace(parent, int(numbers[0]), float(numbers[1]))

    def answer(self, name: str) -> None:
        """Take one message from a socket that has one."""
        frames = self.sockets[name].recv_multipart()
        if name == "hb":
            self.sockets[name].send_multipart(frames)
            return
        start = frames.index(DELIMITER)
        header, content = frames[start + 2], frames[start + 5]
        msg_type = json.loads(header)["msg_type"]
        self.publish("status", header, b'{"execution_state":"busy"}')
        reply: dict = {"status": "ok"}
        if msg_type == "kernel_info_request":
            reply |= INFO
        elif msg_type == "execute_request":
            reply |= {"execution_count": 1, "user_expressions": {}, "payload": []}
            self.execute(json.loads(content)["code"], header)
        packed = self.pack(msg_type.replace("_request", "_reply"), header, json.dumps(reply).encode())
        self.sockets[name].send_multipart([*frames[:start], *packed])
        self.publish("status", header, b'{"execution_state":"idle"}')
        self.running = msg_type != "shutdown_request"


def serve(kernels: list[Kernel]) -> None:
    """Until one is asked to shut down, or the parent is gone."""
    parent = os.getppid()
    poller = zmq.Poller()
    owners = {}
    for kernel in kernels:
        for name in ("shell", "control", "hb"):
            poller.register(kernel.sockets[name], zmq.POLLIN)
            owners[kernel.sockets[name]] = kernel, name
    while all(kernel.running for kernel in kernels) and os.getppid() == parent:
        now = time.monotonic()
        due = [moment for kernel in kernels if (moment := kernel.go_on(now)) is not None]
        wait_s = min(due) - time.monotonic() if due else PARENT_CHECK_S
        # Rounded up: with 0 ms, every kernel that waits for less would spin.
        for socket, _ in poller.poll(max(0, ceil(wait_s * 1000))):
            kernel, name = owners[socket]
            kernel.answer(name)


def external(context: zmq.Context, number: int, folder: Path) -> Iterator[Kernel]:
    for index in range(number):
        connection = {"transport": "tcp", "ip": "127.0.0.1", "key": os.urandom(16).hex(), "kernel_name": "load"}
        yield Kernel(context, connection)
        # Under another name first: a server watches the folder.
        file = folder / f"load-{os.getpid()}-{index}.json"
        file.with_suffix(".new").write_text(json.dumps(connection | {"signature_scheme": "hmac-sha256"}))
        file.with_suffix(".new").rename(file)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context: zmq.Context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 65_535)
    if sys.argv[1] == "--external":
        serve(list(external(context, int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        serve([Kernel(context, json.loads(Path(sys.argv[1]).read_text()))])
    context.destroy(linger=500)


if __name__ == "__main__":
    main()
