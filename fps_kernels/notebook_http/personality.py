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
from ..kernels.kernel import Kernel
from ..store.model import Purpose
from .bounds import MIB, Bounds
from .kernel_language import MAX_NAME_CHARS, UnknownLanguage, language_of, name_of_language
from .notebook_routes import notebook_routes
from .openapi import openapi, swagger
from .parsing.annotations import parse as parse_annotations
from .parsing.endpoints import EndpointTable
from .parsing.notebook_error import NotebookError
from .parsing.swagger_parser import parse as parse_swagger
from .pipeline import Pipeline
from .pool import KernelPool, PoolStatistics
from .request.literals import LANGUAGES, Language
from .request.request_files import RequestFiles
from .request.request_limits import RequestLimits

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from ..gateway.config.gateway_options import KernelGatewayApp
    from ..gateway.seed import Seed

logger = logging.getLogger(__name__)

Parser = Callable[..., EndpointTable]
PARSERS: dict[str, Parser] = {
    "kernel_gateway.notebook_http.cell.parser": parse_annotations,
    "kernel_gateway.notebook_http.swagger.parser": parse_swagger,
}
"""The parsers by the names that Kernel Gateway has for them."""
LIMITS = {"max_body_bytes": (1, 512 * MIB), "max_fields": (1, 1_000_000), "max_depth": (1, 500)}
"""What the options of the same names may be. More than 512 MiB would never fit into `Bounds.max_bodies_bytes`; a parser
of JSON that calls itself for each level, as many do, gives up somewhere beyond 500."""


class NotebookHttp(Personality):
    """A notebook as an HTTP API.

    The annotated cells of the seed notebook answer requests; its other cells are run on each kernel before.
    """

    bounds = Bounds()
    """Times and sizes that no option sets; a subclass may have others."""

    _seed: Seed
    _table: EndpointTable
    _kernel_language: str
    _files: RequestFiles
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
        self._table = self._parse(await self.context.kernels.registry.specs.run(self._notebook_language))
        self._seed_codes = frozenset(self._table.seeds)
        kernels = await prespawn(self.context, max(1, self.context.settings.prespawn_count))
        registry = self.context.kernels.registry
        start = partial(registry.start, seed.kernel_name, purpose=Purpose.WARM)
        for kernel in kernels:
            try:
                self._language_of(kernel)
            except UnknownLanguage as exc:
                raise BadOption(f"seed_uri={seed.uri}: {exc.message}") from exc
        self._kernel_language = name_of_language(kernels[0].client.kernel_info)
        self._files = RequestFiles(self.context.kernels.registry.connection_dir)
        try:
            await asyncio.to_thread(self._files.open)
        except OSError as exc:
            raise BadOption(
                f"api=notebook-http: no folder for requests can be made in Jupyter's runtime folder: {exc}"
            ) from exc
        self._pool = KernelPool(kernels, start, registry.shutdown, self._options.queue_limit, self.bounds)
        self._pipeline = Pipeline(
            self._pool, self._language_of, self._files, self._limits, self._options.request_timeout_s, self.bounds
        )
        self.context.kernels.metrics.scrape.add(self._make_metrics)

    def _make_metrics(self) -> Collector:
        from .notebook_metrics import NotebookMetrics

        assert self._pipeline is not None
        return NotebookMetrics(self._pool, self._pipeline)

    def _check_options(self) -> None:
        options = self._options
        if options.static_path is not None and not Path(options.static_path).is_dir():
            raise BadOption(f"static_path={options.static_path}: no such folder")
        if options.queue_limit < 0:
            raise BadOption(f"queue_limit={options.queue_limit}: less than 0")
        if not options.request_timeout_s >= 0:  # NaN is refused, too
            raise BadOption(f"request_timeout_s={options.request_timeout_s:g}: less than 0")
        for name, (low, high) in LIMITS.items():
            value = getattr(options, name)
            if not low <= value <= high:
                raise BadOption(f"{name}={value}: not from {low} to {high}")
        if options.request_literal and options.request_literal.lower() not in LANGUAGES:
            raise BadOption(f"request_literal={options.request_literal}: not one of {', '.join(LANGUAGES)}")

    @property
    def _limits(self) -> RequestLimits:
        return RequestLimits(self._options.max_body_bytes, self._options.max_fields, self._options.max_depth)

    def _language_of(self, kernel: Kernel) -> Language:
        """Raises UnknownLanguage."""
        return language_of(kernel.client.kernel_info, self._options.request_literal.lower())

    def _named_language(self) -> str:
        """What the notebook says of its language; "" if nothing."""
        name = self._seed.notebook.get("metadata", {}).get("language_info", {}).get("name")
        return name if isinstance(name, str) else ""

    def _notebook_language(self) -> str:
        """The language of the notebook. One that no front end has ever saved names only its kernelspec."""
        return (
            self._named_language() or self.context.kernels.registry.specs.get(self._seed.kernel_name or None).language
        )

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
        if (named := self._named_language()) and named.lower() != self._kernel_language.lower():
            logger.warning(
                "%s: its metadata names the language %r, but its kernel runs %r: REQUEST is written in that",
                name,
                named[:MAX_NAME_CHARS],
                self._kernel_language[:MAX_NAME_CHARS],
            )
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
                await asyncio.to_thread(self._files.close)


def create_personality(parent: KernelGatewayApp) -> NotebookHttp:
    return NotebookHttp(parent=parent)
