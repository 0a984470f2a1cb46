"""The server that is measured: a process of its own, with kernels, and what Linux says of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import psutil

BIN = Path(sys.executable).parent
KERNEL = Path(__file__).parent / "kernel.py"
START_TIMEOUT_S = 60
AT_ONCE = 8
"""Kernels that are started at the same time."""


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu_s: user and system time of the server's process, without its kernels."""

    cpu_s: float
    rss_mib: float
    fds: int
    threads: int


class Server:
    """`fps-kernels`, whose kernels are processes of their own; external: `fps-kernels lab`, and one process for
    all kernels that are started together.

    Use it as a context manager: at its end the server is stopped, and with it all kernels.
    """

    def __init__(self, *, external: bool = False) -> None:
        self._external = external
        self._folder = tempfile.TemporaryDirectory(prefix="scaling-")
        self.base = Path(self._folder.name)
        self._log = self.base / "server.log"
        self._hosts: list[subprocess.Popen[bytes]] = []
        self._known: set[str] = set()
        (self.base / "external").mkdir()
        spec = self.base / "share" / "kernels" / "load" / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [sys.executable, str(KERNEL), "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "load", "language": "none"}))
        command = [str(BIN / "fps-kernels"), "--port=0"]
        if external:
            options = {"allow_external_kernels": "true", "external_connection_dir": str(self.base / "external")}
            command = [str(BIN / "fps-kernels"), "lab", "--port=0"]
            command += [word for name, value in options.items() for word in ("--set", f"kernels.{name}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self.base, env=self._environment(), stdout=log, stderr=log)
        self._linux = psutil.Process(self._process.pid)
        self.url = ""

    def _environment(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_"))}
        folders = {"HOME": "home", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config"}
        environ |= {name: str(self.base / folder) for name, folder in folders.items()}
        return environ | {"JUPYTER_PATH": str(self.base / "share"), "KG_LIST_KERNELS": "True"}

    def __enter__(self) -> Self:
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"(http://127\.0\.0\.1:\d+)", self._log.read_text())
            if found:
                self.url = found[1]
                try:
                    httpx.get(f"{self.url}/api/kernelspecs", timeout=10)
                except httpx.TransportError:
                    pass
                else:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the server did not start: {self._log.read_text()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def usage(self) -> Usage:
        with self._linux.oneshot():
            cpu = self._linux.cpu_times()
            return Usage(
                cpu.user + cpu.system,
                self._linux.memory_info().rss / 2**20,
                self._linux.num_fds(),
                self._linux.num_threads(),
            )

    def start_kernels(self, number: int) -> list[str]:
        """Blocking; returns their ids when all are ready."""
        if self._external:
            return self._host_kernels(number)
        with httpx.Client(base_url=self.url, timeout=START_TIMEOUT_S) as http, ThreadPoolExecutor(AT_ONCE) as threads:

            def start(_: int) -> str:
                response = http.post("/api/kernels", json={"name": "load"})
                return str(response.raise_for_status().json()["id"])

            return list(threads.map(start, range(number)))

    def _host_kernels(self, number: int) -> list[str]:
        command = [sys.executable, str(KERNEL), "--external", str(number), str(self.base / "external")]
        self._hosts.append(subprocess.Popen(command))
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            models = httpx.get(f"{self.url}/api/kernels").json()
            new = {model["id"] for model in models if model["execution_state"] == "idle"} - self._known
            if len(new) == number:
                self._known |= new
                return sorted(new)
            time.sleep(0.1)
        raise RuntimeError(f"{number} external kernels were not found")

    def stop(self) -> None:
        for process in (self._process, *self._hosts):
            if process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()
