"""The personality that makes a notebook an HTTP API."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from ..errors import BadOption
from ..gateway.access import OPEN_PATHS
from ..gateway.config.traits import NotebookHTTPPersonality
from ..gateway.personality_loader import Personality
from ..gateway.prespawn import start_pool
from ..gateway.seed import Seed
from .handler import NotebookHandler
from .notebook_routes import notebook_router
from .openapi import openapi, swagger
from .parsing.annotations import parse as parse_annotations
from .parsing.endpoints import EndpointTable
from .parsing.notebook_error import NotebookError
from .parsing.swagger_parser import parse as parse_swagger
from .pool import KernelPool

if TYPE_CHECKING:
    from ..gateway.app import KernelGatewayApp

logger = logging.getLogger(__name__)

Parser = Callable[..., EndpointTable]
PARSERS: dict[str, Parser] = {
    "kernel_gateway.notebook_http.cell.parser": parse_annotations,
    "kernel_gateway.notebook_http.swagger.parser": parse_swagger,
}


class NotebookHttp(Personality):
    """The annotated cells of the seed notebook answer requests; its other cells are run on each kernel before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = NotebookHTTPPersonality(parent=self.parent)
        self._table: EndpointTable | None = None
        self._pool: KernelPool | None = None
        self._handler: NotebookHandler | None = None

    async def init_configurables(self) -> None:
        seed = self.parent.seed
        if seed is None:
            raise BadOption("api=notebook-http: there is no notebook; set seed_uri")
        self._check_options()
        language = await asyncio.to_thread(self._language, seed)
        self._table = table = self._parse(seed, language)
        registry = self.parent.kernels.registry
        kernels = await start_pool(self.parent, max(1, self.parent.settings.prespawn_count))
        self._pool = KernelPool(
            kernels, partial(registry.start, seed.kernel_name), registry.shutdown, self._options.queue_limit
        )
        self._handler = NotebookHandler(table, self._pool, language, self._options.request_timeout_s)

    def _check_options(self) -> None:
        options = self._options
        if options.static_path is not None and not Path(options.static_path).is_dir():
            raise BadOption(f"static_path={options.static_path}: no such folder")
        if options.queue_limit < 0:
            raise BadOption(f"queue_limit={options.queue_limit}: less than 0")
        if not options.request_timeout_s >= 0:  # also what is no number
            raise BadOption(f"request_timeout_s={options.request_timeout_s:g}: less than 0")

    def _parse(self, seed: Seed, language: str) -> EndpointTable:
        name = self._options.cell_parser
        try:
            parse = PARSERS.get(name) or importlib.import_module(name).parse
        except Exception as exc:  # whatever somebody else's module may do
            raise BadOption(f"cell_parser={name}: {exc}") from exc
        try:
            table: EndpointTable = parse(seed.notebook["cells"], language, self._options.comment_prefix)
        except NotebookError as exc:
            raise BadOption(f"seed_uri={seed.uri}: {exc.message}") from exc
        return table

    def _language(self, seed: Seed) -> str:
        """Of the kernels; notebooks that were never saved by a front end have only the kernelspec's name."""
        found = seed.notebook.get("metadata", {}).get("language_info", {}).get("name")
        return found or self.parent.kernels.registry.specs.get(seed.kernel_name or None).language

    def should_seed_cell(self, code: str) -> bool:
        return self._table is not None and code in self._table.seeds

    def create_request_handlers(self) -> APIRouter:
        assert self._handler is not None, "init_configurables comes first"
        seed, options = self.parent.seed, self._options
        assert seed is not None
        self._warn(Path(seed.uri).name, self._handler.table)
        return notebook_router(
            self._handler,
            swagger(seed.uri, self._paths(), self.parent.settings.base_url, self._handler.table.document),
            seed.notebook if options.allow_notebook_download else None,
            options.static_path,
        )

    def _warn(self, name: str, table: EndpointTable) -> None:
        """Now: while kernels start, the log is kept quiet."""
        for warning in table.warnings:
            logger.warning("%s: %s", name, warning)
        for endpoint in table.endpoints:
            if endpoint.path.removeprefix("/") in OPEN_PATHS:
                where = f"cell {endpoint.cells[0]}: " if endpoint.cells else ""
                logger.warning("%s: %s%s is the server's own, the notebook never gets it", name, where, endpoint.path)

    def describe(self) -> dict[str, Any]:
        assert self._table is not None
        assert self.parent.seed is not None
        streaming = [(one.path, one.verb) for one in self._table.endpoints if one.stream]
        return openapi(self.parent.seed.uri, self._paths(), self.parent.settings.base_url, streaming)

    def _paths(self) -> list[tuple[str, list[str]]]:
        assert self._table is not None
        verbs: dict[str, list[str]] = {}
        for endpoint in self._table.endpoints:
            verbs.setdefault(endpoint.path, []).append(endpoint.verb)
        return list(verbs.items())

    async def shutdown(self) -> None:
        if self._handler is not None and self._pool is not None:
            try:
                await self._handler.drain()
            finally:
                await self._pool.close()


def create_personality(parent: KernelGatewayApp) -> NotebookHttp:
    return NotebookHttp(parent=parent)
