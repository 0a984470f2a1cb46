"""The tests of JupyterLab with today's Jupyverse, whose kernels are ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.fps_servers import generation as generation
from ..support.fps_servers import today as today
from ..support.servers import Server
from .test_jupyterlab import *  # noqa: F403
from .test_jupyterlab import pytestmark as pytestmark
from .test_jupyterlab import replace_kernelspecs


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def server(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`jupyverse` with JupyterLab and IPython kernels, which lets everybody in."""
    server = Server(tmp_path_factory.mktemp("lab"), disable=("auth", "kernel_subprocess"))
    replace_kernelspecs(server.share)
    server.wait_ready()
    yield server
    server.stop()
