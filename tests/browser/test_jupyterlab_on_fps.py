"""The tests of JupyterLab with today's Jupyverse, whose kernels are ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.fps_servers import DOCUMENTS
from ..support.fps_servers import generation as generation
from ..support.fps_servers import today as today
from ..support.servers import Server, options
from .test_jupyterlab import *  # noqa: F403
from .test_jupyterlab import pytestmark as pytestmark
from .test_jupyterlab import replace_kernelspecs


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def server(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`jupyverse` with JupyterLab and IPython kernels, which lets everybody in."""
    as_by_default = options(start_answer_s=0, prewarm=1)
    server = Server(tmp_path_factory.mktemp("lab"), *as_by_default, disable=("auth", "kernel_subprocess", *DOCUMENTS))
    replace_kernelspecs(server.share)
    server.wait_ready()
    yield server
    server.stop()


# Its kernel has no matplotlib; what a picture is to the server, another test's buffers are, too.
del test_a_plot_is_shown_in_the_picture_for_the_documentation  # noqa: F821
