"""Jupyter Server with jupyter-collaboration, which needs another pycrdt than fps-yjs: it has a venv of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .servers import options
from .stock import BeginStock, StockServer, stock_servers
from .venvs import shared_venv

REQUIREMENTS = ("ipykernel", "ipywidgets", "jupyter-collaboration>=4")


def collaboration_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the venv."""
    return shared_venv(tmp_path_factory, "collaboration", *REQUIREMENTS)


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
