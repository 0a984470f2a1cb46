"""Gateways that serve a notebook as an HTTP API, for the tests."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .gateways import Gateway, gateways, option
from .notebooks import write_notebook

OF_THE_PERSONALITY = {
    "allow_notebook_download",
    "cell_parser",
    "comment_prefix",
    "max_body_bytes",
    "max_depth",
    "max_fields",
    "queue_limit",
    "request_literal",
    "request_timeout_s",
    "static_path",
}
OF_THE_KERNELS = {"autorestart", "shutdown_wait_time"}
OF_THE_MANAGER = {"allow_tracebacks"}
SIGNS_OF_A_LOST_TASK = ("never retrieved", "never awaited", "Traceback", "was destroyed but", "without completing")

IMPORTS = """
import json, os, pathlib, signal, threading, time

def args(name):
    return json.loads(REQUEST)["args"][name][0]

def forever(before=lambda: None):
    before()
    pathlib.Path(args("started")).touch()
    try:
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        pathlib.Path(args("started") + ".interrupted").touch()
        raise

def until(path):
    while not os.path.exists(path):
        time.sleep(0.02)
"""
"""The first cell of the notebooks: what their other cells need. started: an argument that all take that use it."""

PID = "# GET /pid\nstream(str(os.getpid()))"
FOREVER = "# GET /forever\nforever()"
GATE = '# GET /gate\npathlib.Path(args("started")).touch()\nuntil(args("gate"))\nstream(str(os.getpid()))'
"""Runs until the file `gate` is there."""
DIE = "# GET /die\nos._exit(7)"
RECORD = '# GET /record\nopen(args("file"), "a").write(args("text"))\nstream("written")'

HASTY = """
import asyncio, dataclasses, os

from fps_kernels.api.responses import json_response
from fps_kernels.api.starlette_router import ExactRoute
from fps_kernels.notebook_http.bounds import Bounds
from fps_kernels.notebook_http.personality import NotebookHttp

class Watched(NotebookHttp):
    bounds = Bounds(
        max_bodies_bytes=1_000_000,
        body_grace_s=float(os.environ.get("TEST_BODY_GRACE_S", "30")),
        stop_timeout_s=0.3,
        idle_timeout_s=1_000,
        replace_delays_s=(0.05,),
        keep_alive_s=0.05,
    )
    shutdown_timeout_s = 0.5

    def create_routes(self):
        return [*super().create_routes(), ExactRoute("/_books", self.books, methods=["GET"])]

    async def books(self, request):
        pool = dataclasses.asdict(self.statistics())
        kernels = self.context.kernels.registry.list()
        clients = [kernel.client.statistics() for kernel in kernels]
        return json_response({
            "runs": pool.pop("unfinished"),
            "bodies": self._pipeline.bodies_bytes,
            "pool": pool,
            "listeners": [client.listeners for client in clients],
            "observers": [len(kernel.observers) for kernel in kernels],
            "pending": [client.pending for client in clients],
            "tasks": len(asyncio.all_tasks()),
        })

def create_personality(parent):
    return Watched(parent=parent)
"""
"""A personality that is ours with shorter bounds, which the tests would have to wait for, and a longer one, which
they must not run into. It tells of its bookkeeping."""

Serve = Callable[..., Gateway]


@contextlib.contextmanager
def apis(base: Path) -> Iterator[Serve]:
    """serve(*cells, kernel="tiny_plain", ready=True, env=None, **options): a gateway of a notebook.

    The notebook's first cell is IMPORTS, if its kernel is one of Python. language: what its metadata says, "python" by
    default. hasty: with HASTY. token: none by default. At the end all are stopped; none may have left a kernel, or have
    lost a task.
    """
    started: list[Gateway] = []
    with gateways(base) as begin:
        (base / "hasty.py").write_text(HASTY)

        def serve(
            *cells: str | dict[str, Any],
            kernel: str = "tiny_plain",
            language: str = "python",
            hasty: bool = False,
            ready: bool = True,
            token: str = "",
            env: dict[str, str] | None = None,
            **options: Any,
        ) -> Gateway:
            path = base / f"notebook{len(started)}.ipynb"
            first = [IMPORTS] if kernel.startswith("tiny") or kernel == "python3" else []
            seed = write_notebook(path, *first, *cells, kernel=kernel, language=language)
            arguments = [f"--api={'hasty' if hasty else 'notebook-http'}", seed, f"--token={token}"]
            for name, value in options.items():
                if name in OF_THE_PERSONALITY:
                    arguments.append(f"--NotebookHTTPPersonality.{name}={value}")
                elif name in OF_THE_KERNELS:
                    arguments.append(f"--KernelManager.{name}={value}")
                elif name in OF_THE_MANAGER:
                    arguments.append(f"--MappingKernelManager.{name}={value}")
                else:
                    arguments.append(option(name, value))
            python_path = os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])
            gateway = begin(*arguments, env={"PYTHONPATH": python_path, **(env or {})}, ready=False)
            started.append(gateway)
            if ready:
                gateway.wait_ready()
            return gateway

        yield serve
    for gateway in started:
        check_log(gateway)
        assert gateway.kernel_processes() == []


def check_log(gateway: Gateway) -> None:
    """That no task of a gateway that has ended failed unseen. What kernels wrote to stderr does not count."""
    own = "\n".join(line for line in gateway.log.splitlines() if " fps_kernels.kernel_driver.stderr]" not in line)
    for sign in SIGNS_OF_A_LOST_TASK:
        assert sign not in own, gateway.log


def complaint(gateway: Gateway) -> str:
    """The line that a gateway that does not start ends with."""
    assert gateway.wait_end() == 1
    [line] = [line for line in gateway.log.splitlines() if line.startswith("fps-kernels: ")]
    assert gateway.log.endswith(f"{line}\n")
    return line


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
