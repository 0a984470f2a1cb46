"""Stock Jupyter Servers with our extension that keep kernels beyond their end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .kept_servers import KeptServers
from .stock import OPEN, OURS, StockServer


class KeptStock(KeptServers[StockServer]):
    """A state folder, and Jupyter Servers that use it one after the other."""

    def begin(self, *options: str, keep: str = "crash", ready: bool = True, **more: Any) -> StockServer:
        """Start a server. more: see StockServer."""
        kept = (OURS.format("keep_kernels", keep), OURS.format("state_dir", self.state))
        waits = () if any("start_answer_s" in option for option in options) else (OURS.format("start_answer_s", 10),)
        server = StockServer(self.base, *OPEN, *kept, *waits, *options, log=f"server{len(self._servers)}.log", **more)
        self._servers.append(server)
        if ready:
            server.wait_ready()
            self.note_processes()
        return server


@contextlib.contextmanager
def keeping_stock(base: Path) -> Iterator[KeptStock]:
    """Servers that keep kernels; all that they have is ended at the end."""
    servers = KeptStock(base)
    try:
        yield servers
    finally:
        servers.end()
