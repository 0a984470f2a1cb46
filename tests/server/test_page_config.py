"""What JupyterLab's page is told of the kernels."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ..support.servers import TOKEN, Server, options


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chosen = options(untracked_message_types=["kernel_info_request", "</script>"])
    server = Server(tmp_path_factory.mktemp("pages"), *chosen, full=True)
    server.wait_ready()
    yield server
    server.stop()


def config(server: Server, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"token {TOKEN}"}
    page = httpx.get(f"{server.url}{path}", headers=headers, follow_redirects=True, trust_env=False).text
    found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(html.unescape(found[1]))
    return values


@pytest.mark.parametrize("path", ["/lab", "/lab/tree/a.ipynb"])
def test_the_page_knows_which_messages_are_no_activity(pages: Server, path: str) -> None:
    """JupyterLab since 4.5 shows a kernel as busy by it."""
    values = config(pages, path)
    assert values["untracked_message_types"] == ["kernel_info_request", "</script>"]
    assert values["appName"] == "JupyterLab"
