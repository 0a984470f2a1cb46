"""Jupyter Server with jupyter-collaboration, which needs another pycrdt than fps-yjs: it has a venv of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .servers import options
from .stock import BeginStock, StockServer, stock_servers
from .venvs import make_venv

VENV = "FPS_KERNELS_TESTS_COLLABORATION"
"""The environment variable with a venv that is there, with our extension and what REQUIREMENTS name."""
REQUIREMENTS = ("ipykernel", "ipywidgets", "jupyter-collaboration>=4")


def collaboration_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the venv, which is made once in a run of the tests."""
    if VENV in os.environ:
        return Path(os.environ[VENV])
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    venv, made = shared / "collaboration", shared / "collaboration-made"
    with (shared / "collaboration-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make_venv(venv, *REQUIREMENTS)
            made.touch()
    return venv


@contextlib.contextmanager
def begin_collaborating(venv: Path, base: Path) -> Iterator[BeginStock]:
    """Begin servers with shared documents, whose kernels are ready when their start is answered; see stock_servers."""
    with stock_servers(base, venv) as begin:

        def begin_ready(*arguments: str, env: dict[str, str] | None = None, **more: Any) -> StockServer:
            if not any("start_answer_s" in argument for argument in arguments):
                arguments = (*options(start_answer_s=10), *arguments)
            share = {"JUPYTER_DATA_DIR": str(base)}  # a folder that is there, for the ids of files
            return begin(*arguments, env=share | (env or {}), **more)

        yield begin_ready
