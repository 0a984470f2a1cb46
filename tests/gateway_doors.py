"""The command `fps-kernels` as its users start it, with tiny kernels."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import free_port, install_kernelspecs
from .processes import ServerProcess

PROGRAM = str(Path(sys.executable).parent / "fps-kernels")


def option(name: str, value: object) -> str:
    """As in the manual of Jupyter Kernel Gateway."""
    return f"--KernelGatewayApp.{name}={value}"


class Gateway(ServerProcess):
    """A process of the command, in folders of its own. url: without a slash at its end, once it is ready."""

    def __init__(self, base: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.root = base / "root"
        self.runtime = base / "runtime"
        self.log_file = base / "gateway.log"
        self.url = ""
        for folder in (self.root, self.runtime):
            folder.mkdir(parents=True)
        install_kernelspecs(base / "share")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_"))}
        environ |= {
            "HOME": str(base),
            "IPYTHONDIR": str(base / "ipython"),
            "JUPYTER_PATH": str(base / "share"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
        }
        environ |= {"KG_PORT": str(free_port())} | (env or {})
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments], cwd=self.root, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Until it says where it serves; its socket takes connections then."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := re.search(r"Serving at (\S+)/\n", self.log):
                self.url = found[1]
                return
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise TimeoutError(self.log)

    def wait_logged(self, text: str, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.log:
            if time.monotonic() > deadline:
                raise TimeoutError(self.log)
            time.sleep(0.02)


Begin = Callable[..., Gateway]


@contextlib.contextmanager
def gateways(base: Path) -> Iterator[Begin]:
    """begin(*arguments, env=None, ready=True) starts a gateway and waits for it; all are stopped at the end."""
    begun: list[Gateway] = []

    def begin(*arguments: str, env: dict[str, str] | None = None, ready: bool = True) -> Gateway:
        gateway = Gateway(base / f"gateway{len(begun)}", *arguments, env=env)
        begun.append(gateway)
        if ready:
            gateway.wait_ready()
        return gateway

    try:
        yield begin
    finally:
        for gateway in begun:
            gateway.stop()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Gateways of the test's own."""
    with gateways(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def begin_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begin]:
    """Gateways that several tests of a module use."""
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield begin
