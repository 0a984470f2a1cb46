"""Gateways that keep kernels beyond their end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .gateways import COMMAND, Gateway, option
from .kept_servers import KeptServers

LISTING = "--JupyterWebsocketPersonality.list_kernels=True"


class KeptGateways(KeptServers[Gateway]):
    """A state folder, and gateways that use it one after the other, or at once."""

    def begin(
        self, *options: str, keep: str = "crash", ready: bool = True, program: str = COMMAND, **more: str
    ) -> Gateway:
        """Start a gateway. program: see Gateway. more: environment variables."""
        options = (option("keep_kernels", keep), option("state_dir", self.state), LISTING, *options)
        return self.start(*options, ready=ready, env=more, program=program)

    def start(
        self, *words: str, ready: bool = True, env: dict[str, str] | None = None, program: str = COMMAND
    ) -> Gateway:
        """Start `fps-kernels` with these words, such as a command of it that serves."""
        gateway = Gateway(self.base, *words, env=env, log=f"gateway{len(self._servers)}.log", program=program)
        self._servers.append(gateway)
        if ready:
            gateway.wait_ready()
            self.note_processes()
        return gateway


@contextlib.contextmanager
def keeping_gateways(base: Path) -> Iterator[KeptGateways]:
    """Gateways that keep kernels; all that they have is ended at the end."""
    gateways = KeptGateways(base)
    try:
        yield gateways
    finally:
        gateways.end()
