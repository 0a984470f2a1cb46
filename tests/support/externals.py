"""Kernels that are started beside a server, by the test itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from .kernelspecs import KERNEL
from .ports import free_ports

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class ExternalKernel:
    """A tiny kernel of the test's own; its connection file lies where no server looks, until it is shown."""

    def __init__(self, folder: Path, mode: str = "plain", transport: str = "tcp") -> None:
        self.name = f"external-{uuid.uuid4().hex}.json"
        self.file = folder / self.name
        ports = free_ports(5) if transport == "tcp" else [1, 2, 3, 4, 5]
        info = {
            **{f"{channel}_port": port for channel, port in zip(CHANNELS, ports, strict=True)},
            "ip": "127.0.0.1" if transport == "tcp" else str(folder / "ipc"),
            "transport": transport,
            "key": uuid.uuid4().hex,
            "signature_scheme": "hmac-sha256",
            "kernel_name": f"external_{mode}",
        }
        self.file.write_text(json.dumps(info))
        self._command = [sys.executable, str(KERNEL), mode, str(self.file)]
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def show(self, folder: Path) -> Path:
        """Put the connection file, whole, where a server sees it."""
        shown = folder / self.name
        shutil.copy(self.file, shown.with_suffix(".part"))
        return shown.with_suffix(".part").rename(shown)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Another process with the same connection file, as a manager elsewhere starts it."""
        self.stop()
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
