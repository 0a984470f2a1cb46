"""The personality that makes a notebook an HTTP API."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from ..errors import BadOption
from ..gateway.config.traits import NotebookHTTPPersonality
from ..gateway.health import HEALTH_PATHS
from ..gateway.personality_loader import Personality
from ..gateway.prespawn import prespawn
from .bounds import Bounds
from .notebook_routes import notebook_routes
from .openapi import openapi, swagger
from .parsing.annotations import parse as parse_annotations
from .parsing.endpoints import EndpointTable
from .parsing.notebook_error import NotebookError
from .parsing.swagger_parser import parse as parse_swagger
from .pipeline import Pipeline
from .pool import KernelPool, PoolStatistics

if TYPE_CHECKING:
    from ..gateway.config.gateway_options import KernelGatewayApp
    from ..gateway.seed import Seed

logger = logging.getLogger(__name__)

Parser = Callable[..., EndpointTable]
PARSERS: dict[str, Parser] = {
    "kernel_gateway.notebook_http.cell.parser": parse_annotations,
    "kernel_gateway.notebook_http.swagger.parser": parse_swagger,
}
"""The parsers by the names that Kernel Gateway has for them."""


class NotebookHttp(Personality):
    """A notebook as an HTTP API.

    The annotated cells of the seed notebook answer requests; its other cells are run on each kernel before.
    """

    bounds = Bounds()
    """Times and sizes that no option sets; a subclass may have others."""

    _seed: Seed
    _table: EndpointTable
    _pool: KernelPool
    _pipeline: Pipeline | None = None
    """None until init_configurables() has ended, and with it what is set there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = NotebookHTTPPersonality(parent=self.parent)
        self._seed_codes: frozenset[str] = frozenset()

    async def init_configurables(self) -> None:
        if self.context.seed is None:
            raise BadOption("api=notebook-http: there is no notebook; set seed_uri")
        self._seed = seed = self.context.seed
        self._check_options()
        language = await asyncio.to_thread(self._language)
        self._table = self._parse(language)
        self._seed_codes = frozenset(self._table.seeds)
        kernels = await prespawn(self.context, max(1, self.context.settings.prespawn_count))
        registry = self.context.kernels.registry
        start = partial(registry.start, seed.kernel_name)
        self._pool = KernelPool(kernels, start, registry.shutdown, self._options.queue_limit, self.bounds)
        self._pipeline = Pipeline(self._pool, language, self._options.request_timeout_s, self.bounds)

    def _check_options(self) -> None:
        options = self._options
        if options.static_path is not None and not Path(options.static_path).is_dir():
            raise BadOption(f"static_path={options.static_path}: no such folder")
        if options.queue_limit < 0:
            raise BadOption(f"queue_limit={options.queue_limit}: less than 0")
        if not options.request_timeout_s >= 0:  # NaN is refused, too
            raise BadOption(f"request_timeout_s={options.request_timeout_s:g}: less than 0")

    def _language(self) -> str:
        """The language of the kernels. A notebook that no front end has ever saved names only its kernelspec."""
        found = self._seed.notebook.get("metadata", {}).get("language_info", {}).get("name")
        return found or self.context.kernels.registry.specs.get(self._seed.kernel_name or None).language

    def _parse(self, language: str) -> EndpointTable:
        name = self._options.cell_parser
        try:
            parse = PARSERS.get(name) or importlib.import_module(name).parse
        except Exception as exc:  # a module of a third party may raise anything
            raise BadOption(f"cell_parser={name}: {exc}") from exc
        try:
            table: EndpointTable = parse(self._seed.notebook["cells"], language, self._options.comment_prefix)
        except NotebookError as exc:
            raise BadOption(f"seed_uri={self._seed.uri}: {exc.message}") from exc
        return table

    def should_seed_cell(self, code: str) -> bool:
        return code in self._seed_codes

    def create_routes(self) -> Sequence[BaseRoute]:
        assert self._pipeline is not None, "init_configurables comes first"
        # Only now: while kernels start, the log is kept quiet.
        name = Path(self._seed.uri).name
        for warning in self._table.warnings:
            logger.warning("%s: %s", name, warning)
        for endpoint in self._table.endpoints:
            if endpoint.path.removeprefix("/") in HEALTH_PATHS:
                where = f"cell {endpoint.cells[0]}: " if endpoint.cells else ""
                logger.warning("%s: %s%s is the server's own, the notebook never gets it", name, where, endpoint.path)
        return notebook_routes(
            self._table,
            self._pipeline,
            swagger(self._seed.uri, self._table.verbs(), self.context.settings.base_url, self._table.document),
            self._seed.notebook if self._options.allow_notebook_download else None,
            self._options.static_path,
        )

    def describe(self) -> dict[str, Any]:
        streaming = [(endpoint.path, endpoint.verb) for endpoint in self._table.endpoints if endpoint.stream]
        return openapi(self._seed.uri, self._table.verbs(), self.context.settings.base_url, streaming)

    def statistics(self) -> PoolStatistics:
        """A snapshot of the pool."""
        return self._pool.statistics()

    async def shutdown(self) -> None:
        if self._pipeline is not None:
            try:
                await self._pipeline.drain()
            finally:
                await self._pool.close()


def create_personality(parent: KernelGatewayApp) -> NotebookHttp:
    return NotebookHttp(parent=parent)
