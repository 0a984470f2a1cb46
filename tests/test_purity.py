"""What the modules import: the pure ones no I/O, the driver nothing of the web."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fps_kernels

PURE = [
    "fps_kernels.culling",
    "fps_kernels.environment",
    "fps_kernels.errors",
    "fps_kernels.execution.hashing",
    "fps_kernels.execution.outputs",
    "fps_kernels.execution.request",
    "fps_kernels.execution.stdin",
    "fps_kernels.execution.terminal",
    "fps_kernels.gateway.notebook_http.accept",
    "fps_kernels.gateway.notebook_http.annotations",
    "fps_kernels.gateway.notebook_http.cells",
    "fps_kernels.gateway.notebook_http.documents",
    "fps_kernels.gateway.notebook_http.endpoints",
    "fps_kernels.gateway.notebook_http.errors",
    "fps_kernels.gateway.notebook_http.literals",
    "fps_kernels.gateway.notebook_http.multipart",
    "fps_kernels.gateway.notebook_http.options",
    "fps_kernels.gateway.notebook_http.request",
    "fps_kernels.gateway.notebook_http.response",
    "fps_kernels.gateway.notebook_http.streaming",
    "fps_kernels.gateway.notebook_http.swagger_parser",
    "fps_kernels.kernel_driver.message",
    "fps_kernels.kernel_driver.requests",
    "fps_kernels.kernel_driver.state",
    "fps_kernels.kernel_server.limits",
    "fps_kernels.kernel_server.replay",
    "fps_kernels.kernel_server.replies",
    "fps_kernels.kernel_server.wire",
]
DRIVER = sorted(
    f"fps_kernels.kernel_driver.{path.stem}"
    for path in (Path(fps_kernels.__file__).parent / "kernel_driver").glob("*.py")
    if path.stem != "__init__"
)


def imported_with(*modules: str) -> set[str]:
    """The top-level names of everything that a fresh Python has imported after these modules."""
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert set(modules) <= set(loaded)
    return {name.partition(".")[0] for name in loaded}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_does_no_io(module: str):
    assert imported_with(module).isdisjoint({"asyncio", "zmq", "fastapi", "starlette", "uvicorn", "anyio"})


def test_the_driver_knows_nothing_of_the_web():
    loaded = imported_with(*DRIVER)
    assert "zmq" in loaded
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn", "jupyverse_api", "asphalt", "pydantic"})


def test_jupyter_client_is_imported_on_first_use():
    """It takes 0.15 s, which a server should not need to start."""
    assert imported_with(*DRIVER, "fps_kernels.registry").isdisjoint({"jupyter_client", "IPython", "traitlets"})
