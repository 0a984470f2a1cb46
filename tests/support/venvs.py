"""Environments with this package, as it is in the working tree, and with what others publish."""

from __future__ import annotations

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


def make_venv(folder: Path, *requirements: str) -> Path:
    """A venv with our extension of Jupyter Server and with what is required; returns its folder of commands.

    Skips a test where PyPI cannot be reached.
    """
    uv = need("uv")  # pip needs minutes to choose among so many versions
    wanted = ["-e", f"{PACKAGE}[jupyter-server]", *requirements]
    run([uv, "venv", "--clear", "--python", sys.executable, str(folder)])
    run([uv, "pip", "install", "--python", str(folder / "bin" / "python"), *wanted])
    return folder / "bin"


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
