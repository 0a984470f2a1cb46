"""The command `fps-kernels` for the tests: a process, started as its users start it, with tiny kernels."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .kept_mode import own_keeper
from .kernelspecs import install_kernelspecs
from .nursery import begin_alone, nursery
from .ports import free_port
from .processes import ServerProcess

COMMAND = str(Path(sys.executable).parent / "fps-kernels")


def option(name: str, value: object) -> str:
    """As in the manual of Jupyter Kernel Gateway."""
    return f"--KernelGatewayApp.{name}={value}"


def environment(base: Path, **names: str) -> dict[str, str]:
    """An environment whose Jupyter folders are below `base`, with the tiny kernels; installs them once."""
    share = base / "share"
    if not share.exists():
        install_kernelspecs(share)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_", "KERNEL_"))}
    return {
        **environ,
        "HOME": str(base),
        "IPYTHONDIR": str(base / "ipython"),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTER_PATH": str(share),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        **names,
    }


def warnings(log: str) -> list[str]:
    """The lines of a log that are warnings."""
    return [line for line in log.splitlines() if line.startswith("[W ")]


class Gateway(ServerProcess):
    """A process of the command, in folders of its own.

    port: a free one, unless it is given or an option says otherwise. url: without a slash at its end; once it is
    ready, as it says itself. stdin: as of subprocess. log: the name of its log.
    program: the command, where it is another environment's.
    """

    def __init__(
        self,
        base: Path,
        *options: str,
        env: dict[str, str] | None = None,
        stdin: Any = None,
        log: str = "gateway.log",
        program: str = COMMAND,
        port: int | None = None,
    ) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.runtime = base / "runtime"
        self.log_file = base / log
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # The port by its variable, as an option can only be given once.
        environ = environment(base, **{"KG_PORT": str(self.port)} | (env or {}))
        self.keeper = own_keeper(options, environ)
        if self.keeper is not None:
            environ |= {"KG_KEEP_KERNELS": "crash", "KG_STATE_DIR": str(self.keeper.folder)}
        command = [program, *options]
        if program != COMMAND:
            self.process = begin_alone(command, env=environ, cwd=base, log=self.log_file)
        elif stdin is None:
            self.process = nursery.start(command, env=environ, cwd=base, log=self.log_file)
        else:
            with self.log_file.open("wb") as file:
                self.process = subprocess.Popen(command, cwd=base, env=environ, stdin=stdin, stdout=file, stderr=file)

    @property
    def log(self) -> str:
        """What it has written to stdout and stderr."""
        return self.log_file.read_text()

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Until it says where it serves; its socket takes connections then."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(r"Serving at (\S+?)/[\n\"]", self.log)):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        self.url = found[1]

    def wait_log(self, text: str, timeout_s: float = 60) -> None:
        """Until the log has it: a file has no events."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate that is its own authority, for 127.0.0.1, and its key."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


Begin = Callable[..., Gateway]


@contextlib.contextmanager
def gateways(base: Path) -> Iterator[Begin]:
    """begin(*options, env=None, stdin=None, ready=True) starts a gateway and waits for it; all are stopped at the end.

    Their folders are gateway0, gateway1, … in `base`.
    """
    with contextlib.ExitStack() as stack:
        names = (f"gateway{number}" for number in range(1_000))

        def begin(*options: str, ready: bool = True, **more: Any) -> Gateway:
            gateway = Gateway(base / next(names), *options, **more)
            stack.callback(gateway.stop)
            if ready:
                gateway.wait_ready()
            return gateway

        yield begin
