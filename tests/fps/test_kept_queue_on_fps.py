"""Cells of today's Jupyverse's documents, with all browsers closed: they go on in the next server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..server.test_lab_keeps_queue import *  # noqa: F403
from ..server.test_lab_keeps_queue import Labs
from ..support.fps_servers import NOT_NEEDED_BY_DOCUMENTS
from ..support.kept_servers import KeptServers
from ..support.servers import Server, options


class KeptJupyverse(KeptServers[Server]):
    """A state folder, and servers that use it one after the other."""

    def begin(self, keep: str) -> Server:
        kept = options(keep_kernels=keep, state_dir=str(self.state), require_yjs=True)
        server = Server(self.base, *kept, disable=NOT_NEEDED_BY_DOCUMENTS)
        self._servers.append(server)
        server.wait_ready()
        self.note_processes()
        return server


class FpsLabs(Labs[Server]):
    """Servers with shared documents on one folder, one after the other."""

    def __init__(self, servers: KeptJupyverse) -> None:
        super().__init__(servers, servers.base / "root")
        self._begin = servers.begin

    def begin(self, keep: str = "crash") -> Server:
        return self._begin(keep)


@pytest.fixture  # type: ignore[no-redef]
def labs(today: None, tmp_path: Path) -> Iterator[FpsLabs]:
    """As there."""
    servers = KeptJupyverse(tmp_path)
    try:
        yield FpsLabs(servers)
    finally:
        servers.end()
