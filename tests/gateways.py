"""The command `fps-kernels` for the tests: a process, started as users start it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from .conftest import free_port, install_kernelspecs
from .processes import ServerProcess

COMMAND = str(Path(sys.executable).parent / "fps-kernels")


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
        "JUPYTER_NO_CONFIG": "",
        "JUPYTER_PATH": str(share),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        **names,
    }


class Gateway(ServerProcess):
    """`fps-kernels` on a free port, with options in the original's spelling.

    log: what it writes to stdout and stderr. exit_code: None while it runs. stdin: as of subprocess.
    """

    def __init__(
        self, base: Path, *options: str, env: dict[str, str] | None = None, port: int | None = None, stdin: Any = None
    ) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.runtime = base / "runtime"
        self.log = base / "gateway.log"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [COMMAND, f"--KernelGatewayApp.port={self.port}", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=base,
                env=environment(base, **(env or {})),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=log,
                stderr=log,
            )

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def wait_ready(self, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.exit_code is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/healthz", timeout=30, trust_env=False)
                return
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())

    def wait_log(self, text: str, timeout_s: float = 30) -> None:
        """Until the log has it: a file has no events."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def send_signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, timeout_s: float = 30) -> int:
        """Until it has ended; returns its exit code."""
        return self.process.wait(timeout_s)
