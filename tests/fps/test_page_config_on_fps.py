"""What JupyterLab's page is told of the kernels, on today's Jupyverse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..server.test_page_config import config
from ..support.servers import Server, options


@pytest.fixture(scope="module")
def pages(today: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chosen = options(untracked_message_types=["kernel_info_request", "</script>"])
    server = Server(tmp_path_factory.mktemp("pages"), *chosen, disable=("auth", "kernel_subprocess"))
    server.wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize("path", ["/lab", "/lab/tree/a.ipynb"])
def test_the_page_knows_which_messages_are_no_activity(pages: Server, path: str) -> None:
    values = config(pages, path)
    assert values["untracked_message_types"] == ["kernel_info_request"]
    assert values["appName"] == "JupyterLab"
