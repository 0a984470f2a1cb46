"""A real server for the tests, and real kernels for the server."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from .support.client import Client
from .support.documents import Desk
from .support.kernels.kernel import MODES
from .support.nursery import nursery
from .support.processes import ServerProcess

KERNEL = Path(__file__).parent / "support" / "kernels" / "kernel.py"
# What the tests of the kernels API do not need; without it a server starts in a second.
NOT_NEEDED = ("contents", "jupyterlab", "lab", "nbconvert", "terminals", "yjs")
# What shared documents do not need: "contents" and "yjs" are what they are made of.
NOT_NEEDED_BY_DOCUMENTS = ("jupyterlab", "lab", "nbconvert", "terminals")

# How long an example takes is no matter of the tests: a busy machine has nothing to report.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job that a script runs in the background: kernels would inherit that, and could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def install_kernelspecs(share: Path) -> None:
    """tiny_MODE for each mode of the tiny kernel, in a folder for JUPYTER_PATH."""
    for mode in MODES:
        spec: dict[str, Any] = {
            "argv": [sys.executable, str(KERNEL), mode, "{connection_file}"],
            "display_name": f"Tiny ({mode})",
            "language": "python",
        }
        if mode == "message_interrupt":
            spec["interrupt_mode"] = "message"
        add_kernelspec(share, f"tiny_{mode}", spec)
    add_kernelspec(
        share,
        "tiny_curve",
        {
            "argv": [sys.executable, str(KERNEL), "plain", "{connection_file}"],
            "display_name": "Tiny (curve)",
            "language": "python",
            "metadata": {"supported_encryption": ["curve"]},
        },
    )
    add_kernelspec(
        share,
        "no_such_program",
        {
            "argv": ["no-such-program", "{connection_file}"],
            "display_name": "No such program",
            "language": "none",
        },
    )


def add_kernelspec(share: Path, name: str, spec: dict[str, Any]) -> Path:
    folder = share / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return folder


_given: deque[int] = deque(maxlen=300)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, from a range that the system does not give away by itself meanwhile.

    Each process that runs tests has a range of its own. None is given twice soon: who got it may not listen yet.
    """
    first = 20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10_000
    ports = random.sample([port for port in range(first, first + 1_000) if port not in _given], number)
    try:
        for port in ports:
            socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return free_ports(number)
    _given.extend(ports)
    return ports


def free_port() -> int:
    return free_ports(1)[0]


def jupyverse(
    base: Path, port: int, *arguments: str, full: bool = False, disable: Sequence[str] = NOT_NEEDED
) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a server whose files are all below `base`.

    disable: components that it goes without. full: with all of them, as `fps-kernels lab`, whose users have a browser.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_"))}
    environ |= {
        "HOME": str(base),
        "IPYTHONDIR": str(base / "ipython"),
        "JUPYTER_PATH": str(base / "share"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
    }
    folder = Path(sys.executable).parent
    if not full and not any("kernels.prewarm" in argument for argument in arguments):
        arguments = (*arguments, *options(prewarm=0))  # a kernel that nobody wants costs a second
    if full:
        return [str(folder / "fps-kernels"), "lab", "--port", str(port), *arguments], environ
    disabled = [word for name in disable for word in ("--disable", name)]
    return [str(folder / "jupyverse"), "--port", str(port), *disabled, *arguments], environ


def options(**values: Any) -> list[str]:
    """Arguments that set options of the component."""
    return [word for name, value in values.items() for word in ("--set", f"kernels.{name}={json.dumps(value)}")]


class Server(ServerProcess):
    """A `jupyverse` process with our component, in folders of its own."""

    def __init__(
        self,
        base: Path,
        *arguments: str,
        full: bool = False,
        disable: Sequence[str] = NOT_NEEDED,
        env: dict[str, str] | None = None,
    ) -> None:
        self.root = base / "root"
        self.runtime = base / "runtime"
        self.share = base / "share"
        self.log = base / "server.log"
        for folder in (self.root, self.runtime):
            folder.mkdir(parents=True)
        install_kernelspecs(self.share)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command, environ = jupyverse(base, self.port, *arguments, full=full, disable=disable)
        environ |= env or {}
        self.process = nursery.start(command, env=environ, cwd=self.root, log=self.log)

    def wait_ready(self, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/api", timeout=5, trust_env=False)
                return
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())


Launch = Callable[..., Server]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """launch(*arguments, full=False, env=None) starts a server of the test's own and waits until it answers."""
    servers: list[Server] = []

    def start(*arguments: str, full: bool = False, env: dict[str, str] | None = None) -> Server:
        server = Server(tmp_path / f"server{len(servers)}", *arguments, full=full, env=env)
        servers.append(server)
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that need no options of their own."""
    server = Server(tmp_path_factory.mktemp("shared"))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def document_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with shared documents, for all tests that need no options of their own."""
    arguments = options(require_yjs=True, restart_limit=1000)
    server = Server(tmp_path_factory.mktemp("documents"), *arguments, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def desk(document_server: Server) -> AsyncIterator[Desk]:
    """Notebooks on the server with shared documents; they are closed, and their kernels removed, after the test."""
    async with tidy_client(document_server) as client, Desk(client, document_server.root) as desk:
        yield desk


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of the shared server; its kernels and sessions are removed after the test."""
    async with tidy_client(server) as client:
        yield client


@contextlib.asynccontextmanager
async def tidy_client(server: ServerProcess) -> AsyncIterator[Client]:
    """A client of a server that is shared; all kernels and sessions that it starts are removed at the end."""
    async with Client(server.url) as client:
        kept = {model["id"] for model in await client.kernels()}
        try:
            yield client
        finally:
            for kind in ("sessions", "kernels"):
                for model in (await client.http.get(f"/api/{kind}")).json():
                    if model["id"] not in kept:
                        await client.http.delete(f"/api/{kind}/{model['id']}")
