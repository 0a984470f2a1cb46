"""What is installed without extras: the core, and for what lacks its extra one line that names it."""

from __future__ import annotations

import subprocess
import sys

import pytest

OF_EXTRAS = (
    "asphalt",
    "fastapi",
    "jupyverse_api",
    "pydantic",
    "starlette",
    "swagger_ui_bundle",
    "uvicorn",
    "uvloop",
    "watchfiles",
    "websockets",
)


LACKING = """
import sys
from importlib.abc import MetaPathFinder


class Lacking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Lacking())
"""


def python_without(names: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python in which these modules cannot be imported."""
    command = [sys.executable, "-c", f"NAMES = {names!r}\n{LACKING}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "module",
    [
        "hosts.jupyter_server.extension",
        "hosts.jupyter_server.kernels_page_handlers",
        "hosts.jupyter_server.mapping_manager",
        "hosts.jupyter_server.websocket_connection",
        "kernel_driver.driver",
        "kernel_server.server",
        "kernels.registry",
    ],
)
def test_the_core_and_the_extension_need_no_other_extra(module: str) -> None:
    done = python_without(OF_EXTRAS, f"import fps_kernels.{module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("lacking", "code", "line"),
    [
        (
            "starlette",
            "from fps_kernels.gateway.app import main; main(['--port=0'])",
            "fps-kernels: The gateway is not installed: install fps_kernels[gateway] (there is no starlette)",
        ),
        (
            "asphalt",
            "from fps_kernels.gateway.app import main; main(['lab'])",
            "fps-kernels: The command lab is not installed: install fps_kernels[lab] (there is no asphalt)",
        ),
        (
            "opentelemetry",
            "from fps_kernels.gateway.app import main; main(['--port=0', '--KernelGatewayApp.traces=True'])",
            "fps-kernels: traces: OpenTelemetry is missing (no opentelemetry): install fps_kernels[traces]",
        ),
        (
            "asphalt",
            "import fps_kernels.main",
            "ModuleNotFoundError: The component kernels is not installed: install fps_kernels[jupyverse-asphalt] "
            "(there is no asphalt)",
        ),
    ],
)
def test_what_lacks_its_extra_names_it(lacking: str, code: str, line: str) -> None:
    done = python_without((lacking,), code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == line
    if "main(" in code:
        assert len(done.stderr.splitlines()) == 1
