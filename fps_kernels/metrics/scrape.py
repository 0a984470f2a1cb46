"""What a scrape is answered with: this process, and the collectors of those who have something to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.registry import Collector, CollectorRegistry

MakeCollector = Callable[[], "Collector"]
"""Makes a collector when the first scrape comes: what it imports is not needed before."""


class Scrape:
    """The collectors of one server. They are asked in the thread of whoever calls `answer`."""

    def __init__(self) -> None:
        self._makers: list[MakeCollector] = []
        self._registry: CollectorRegistry | None = None

    def add(self, make: MakeCollector) -> None:
        """Add a collector, before the first scrape."""
        self._makers.append(make)

    def answer(self, accept: str) -> tuple[bytes, str]:
        """All numbers, and their content type.

        accept: the header of the request, by which Prometheus says which of its formats it takes.
        """
        from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
        from prometheus_client.exposition import choose_encoder

        if self._registry is None:
            self._registry = registry = CollectorRegistry()
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=registry)
            for make in self._makers:
                registry.register(make())
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
