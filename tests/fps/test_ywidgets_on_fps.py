"""Widgets whose state is a shared document, on today's Jupyverse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..execution.test_ywidgets import *  # noqa: F403
from ..execution.test_ywidgets import install
from ..support.fps_servers import NOT_NEEDED_BY_DOCUMENTS
from ..support.servers import Server, options


@pytest.fixture  # type: ignore[no-redef]
def widget_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """As there."""
    allowed = options(allowed_message_types=request.param) if hasattr(request, "param") else []
    install(tmp_path / "widgets")
    path = os.pathsep.join(filter(None, [str(tmp_path / "widgets"), os.environ.get("PYTHONPATH")]))
    arguments = [*options(require_yjs=True), *allowed]
    server = Server(tmp_path, *arguments, env={"PYTHONPATH": path}, disable=NOT_NEEDED_BY_DOCUMENTS)
    server.wait_ready()
    yield server
    server.stop()
