"""What the modules import: the pure ones no I/O, the driver nothing of the web."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import fps_kernels

from ..support.gateways import gateways

PURE = [
    "fps_kernels.kernels.culler",
    "fps_kernels.kernels.launch_environment",
    "fps_kernels.errors",
    "fps_kernels.execution.hashing",
    "fps_kernels.execution.outputs",
    "fps_kernels.execution.request_body",
    "fps_kernels.execution.stdin_clients",
    "fps_kernels.execution.terminal",
    "fps_kernels.notebook_http.response.negotiation",
    "fps_kernels.notebook_http.parsing.annotations",
    "fps_kernels.notebook_http.parsing.cells",
    "fps_kernels.notebook_http.openapi",
    "fps_kernels.notebook_http.parsing.endpoints",
    "fps_kernels.notebook_http.parsing.notebook_error",
    "fps_kernels.notebook_http.request.literals",
    "fps_kernels.notebook_http.request.multipart",
    "fps_kernels.notebook_http.header_options",
    "fps_kernels.notebook_http.request.request_variable",
    "fps_kernels.notebook_http.response.cell_response",
    "fps_kernels.notebook_http.response.stream_formats",
    "fps_kernels.notebook_http.parsing.swagger_parser",
    "fps_kernels.kernel_driver.message",
    "fps_kernels.kernel_driver.request_log",
    "fps_kernels.kernel_driver.state",
    "fps_kernels.kernel_server.rate_limit",
    "fps_kernels.kernel_server.iopub_log",
    "fps_kernels.kernel_server.stand_in",
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
def test_a_pure_module_does_no_io(module: str) -> None:
    assert imported_with(module).isdisjoint({"asyncio", "zmq", "fastapi", "starlette", "uvicorn", "anyio"})


def test_the_driver_knows_nothing_of_the_web() -> None:
    loaded = imported_with(*DRIVER)
    assert "zmq" in loaded
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn", "jupyverse_api", "asphalt", "pydantic"})


def test_jupyter_client_is_imported_on_first_use() -> None:
    """It takes 0.15 s, which a server should not need to start."""
    assert imported_with(*DRIVER, "fps_kernels.kernels.registry").isdisjoint({"jupyter_client", "IPython", "traitlets"})


NOT_FOR_THE_GATEWAY = {
    "asphalt": "the gateway has one component, and starts and ends that itself",
    "fastapi": "0.4 s; for personalities that use it, and for /openapi.json and /docs",
    "jupyverse_api": "imports fastapi, pydantic and asphalt",
    "pydantic": "0.2 s; the command's options are traits, which are checked by themselves",
    "httpx": "for what makes requests",
    "IPython": "3 MiB; jupyter_client asks it for a folder that we know",
    "jsonschema": "for notebooks",
    "nbformat": "for notebooks",
    "pycrdt": "for shared documents",
    "ruamel": "for the options of `fps-kernels lab`",
    "fps_kernels.hosts.asphalt.lab": "needs Jupyverse",
    "fps_kernels.hosts.asphalt.config": "needs pydantic",
    "fps_kernels.hosts.asphalt.component": "needs Jupyverse",
    "fps_kernels.hosts.asphalt.plugin": "needs Jupyverse",
    "fps_kernels.kernels.external_folder": "for Jupyverse: the gateway has no option for it",
    "fps_kernels.execution.service": "for shared documents",
    "fps_kernels.gateway.fastapi_app": "needs fastapi",
    "fps_kernels.notebook_http": "another personality",
}


def test_the_headless_gateway_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    with gateways(tmp_path) as begin:
        # stdin: in a process of its own, which does not begin with what the nursery has imported.
        gateway = begin(env={"PYTHONPROFILEIMPORTTIME": "1"}, stdin=subprocess.DEVNULL)

        def imported() -> set[str]:
            names = re.findall(r"^import time: .*\| +([\w.]+)$", gateway.log, re.MULTILINE)
            return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, 5)}

        assert httpx.get(f"{gateway.url}/api", trust_env=False).status_code == 200
        assert "jupyter_client" not in imported(), "it takes 0.15 s, and is for kernels and kernelspecs"
        assert httpx.get(f"{gateway.url}/api/kernelspecs", trust_env=False).status_code == 200
        assert {"fps_kernels.api.routes", "jupyter_client"} <= imported()
        assert {name: why for name, why in NOT_FOR_THE_GATEWAY.items() if name in imported()} == {}

        assert "/api/kernels" in httpx.get(f"{gateway.url}/openapi.json", trust_env=False, timeout=30).json()["paths"]
        assert "fastapi" in imported()
