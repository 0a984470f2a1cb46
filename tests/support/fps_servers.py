"""Today's Jupyverse with our module, in a venv of its own: the one on Asphalt cannot be beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .nursery import PROGRAMS, Nursery
from .servers import Generation, Server
from .venvs import shared_venv

REQUIREMENTS = (
    "fps-auth >=0.10.3,<0.11",
    "fps-file-id >=0.4.4,<0.5",
    "fps-jupyterlab >=0.11.4,<0.12",
    "fps-kernel-subprocess >=0.2.6,<0.3",
    "fps-noauth >=0.10.2,<0.11",
    "fps-yjs >=0.14.4,<0.15",
    "fps-yrooms >=0.2.4,<0.3",
    "fps-ystore-sqlite >=0.2.3,<0.3",
    "ipykernel",
    "trio",
    "ypywidgets",
)

DOCUMENTS = ("file_id", "yjs", "yrooms", "ystore_sqlite")
"""What shared documents are made of, besides the contents and the watcher of files."""
# What the tests of shared documents do not need, and those of the kernels API.
NOT_NEEDED_BY_DOCUMENTS = ("auth", "kernel_subprocess", "jupyterlab", "lab", "nbconvert", "page_config", "terminals")
NOT_NEEDED = (*NOT_NEEDED_BY_DOCUMENTS, *DOCUMENTS, "contents", "file_watcher")
ARGUMENTS = ("--timeout", "60")
"""Seconds that all plugins have to start. By default that is one, which is not enough on a busy machine."""


def fps_generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    venv = shared_venv(tmp_path_factory, "fps", *REQUIREMENTS, extra="jupyverse")
    modules = [PROGRAMS["jupyverse"], "fps_kernels.fps_main"]
    nursery = Nursery(str(venv / "bin" / "python"), modules, ["jupyverse.modules"])
    return Generation(venv / "bin", nursery, NOT_NEEDED, ARGUMENTS, interrupted=0)


@pytest.fixture(scope="session")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    return fps_generation(tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def today(generation: Generation) -> Iterator[None]:
    """Every `Server` is of this generation, also in the tests of other hosts that are run here."""
    Server.generation, older = generation, Server.generation
    yield
    Server.generation = older
