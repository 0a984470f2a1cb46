"""Environments with this package, as it is in the working tree, and with what others publish."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .programs import need

PACKAGE = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 600
NO_OUTSIDE = ("dns error", "Failed to fetch", "client error (Connect)")
"""What uv says when it cannot reach the index."""


def make_venv(folder: Path, *requirements: str, extra: str = "jupyter-server") -> Path:
    """A venv with this package and with what is required; returns its folder of commands.

    extra: the extra of this package.
    Skips a test where PyPI cannot be reached.
    """
    uv = need("uv")  # pip needs minutes to choose among so many versions
    wanted = ["-e", f"{PACKAGE}[{extra}]", *requirements]
    run([uv, "venv", "--clear", "--python", sys.executable, str(folder)])
    run([uv, "pip", "install", "--python", str(folder / "bin" / "python"), *wanted])
    return folder / "bin"


def shared_venv(
    tmp_path_factory: pytest.TempPathFactory, name: str, *requirements: str, extra: str = "jupyter-server"
) -> Path:
    """The folder of a venv as of `make_venv`, which is made once in a run of the tests.

    It is another one where the environment variable `FPS_KERNELS_TESTS_NAME` has its folder.
    """
    variable = f"FPS_KERNELS_TESTS_{name.upper()}"
    if variable in os.environ:
        return Path(os.environ[variable])
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    venv, made = shared / name, shared / f"{name}-made"
    with (shared / f"{name}-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make_venv(venv, *requirements, extra=extra)
            made.touch()
    return venv


def install_beside(folder: Path, *requirements: str) -> dict[str, str]:
    """Install packages, without what they require, into a folder; returns variables with which a server has them, too.

    Skips a test where PyPI cannot be reached.
    """
    run([need("uv"), "pip", "install", "--python", sys.executable, "--no-deps", "--target", str(folder), *requirements])
    return {"PYTHONPATH": str(folder)}


def run(command: list[str], **more: Any) -> None:
    """Run a command that installs something. more: as of subprocess. Skips where PyPI cannot be reached."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S, **more)
    said = done.stdout + done.stderr
    if done.returncode and any(sign in said for sign in NO_OUTSIDE):
        pytest.skip(f"PyPI cannot be reached: {said.strip().splitlines()[-1]}")
    assert done.returncode == 0, said
