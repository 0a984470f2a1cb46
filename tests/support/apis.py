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
    "queue_limit",
    "request_timeout_s",
    "static_path",
}
OF_THE_KERNELS = {"autorestart", "shutdown_wait_time"}
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
import asyncio, dataclasses

from fps_kernels.api.responses import json_response
from fps_kernels.api.starlette_router import ExactRoute
from fps_kernels.notebook_http.bounds import Bounds
from fps_kernels.notebook_http.personality import NotebookHttp

class Watched(NotebookHttp):
    bounds = Bounds(
        max_bodies_bytes=1_000_000,
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
    """serve(*cells, kernel="tiny_plain", hasty=False, ready=True, token="", **options): a gateway of a notebook.

    The notebook's first cell is IMPORTS. hasty: with HASTY. At the end all are stopped; none may have left a kernel,
    or have lost a task.
    """
    started: list[Gateway] = []
    with gateways(base) as begin:
        (base / "hasty.py").write_text(HASTY)

        def serve(
            *cells: str | dict[str, Any],
            kernel: str = "tiny_plain",
            hasty: bool = False,
            ready: bool = True,
            token: str = "",
            **options: Any,
        ) -> Gateway:
            path = base / f"notebook{len(started)}.ipynb"
            seed = write_notebook(path, IMPORTS, *cells, kernel=kernel)
            arguments = [f"--api={'hasty' if hasty else 'notebook-http'}", seed, f"--token={token}"]
            for name, value in options.items():
                if name in OF_THE_PERSONALITY:
                    arguments.append(f"--NotebookHTTPPersonality.{name}={value}")
                elif name in OF_THE_KERNELS:
                    arguments.append(f"--KernelManager.{name}={value}")
                else:
                    arguments.append(option(name, value))
            python_path = os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])
            gateway = begin(*arguments, env={"PYTHONPATH": python_path} if hasty else None, ready=False)
            started.append(gateway)
            if ready:
                gateway.wait_ready()
            return gateway

        yield serve
    for gateway in started:
        check_log(gateway)
        assert gateway.kernel_processes() == []


def check_log(gateway: Gateway) -> None:
    """That no task of a gateway that has ended failed unseen."""
    for sign in SIGNS_OF_A_LOST_TASK:
        assert sign not in gateway.log, gateway.log


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
