"""Which API the gateway exposes: a module with `create_personality(parent)`, ours or anybody's."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute
from traitlets.config import LoggingConfigurable

from ..errors import BadOption, FPSKernelsError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from .config.gateway_options import KernelGatewayApp

OURS = {
    "jupyter-websocket": "fps_kernels.gateway.jupyter_websocket",
    "kernel_gateway.jupyter_websocket": "fps_kernels.gateway.jupyter_websocket",
    "notebook-http": "fps_kernels.notebook_http.personality",
    "kernel_gateway.notebook_http": "fps_kernels.notebook_http.personality",
}


class Personality(LoggingConfigurable):
    """What `create_personality` returns; any of the methods may be async. Objects of other classes will do, too.

    parent: the KernelGatewayApp. Its `kernels` is like the resource that Jupyverse's plugins get: it starts
      kernels (`kernels.registry.start(name)`) and has their clients (`kernels.get_client(kernel_id)`).
    """

    parent: KernelGatewayApp
    open_paths: Sequence[str] = ()
    """Paths below the base URL, without a slash before them, that need no token."""
    drain_timeout_s: float = 20
    """Seconds that `shutdown` may take; the server answers meanwhile."""

    async def init_configurables(self) -> None:
        """Called when kernels can be started, before anything is served. What it raises ends the program."""

    def create_request_handlers(self) -> APIRouter:
        """The routes, below the base URL; a router in a router is not taken."""
        from fastapi import APIRouter

        return APIRouter()

    def describe(self) -> dict[str, Any] | None:
        """The OpenAPI document; None: it is made from the routes."""
        return None

    def should_seed_cell(self, code: str) -> bool:
        """Whether a cell of the seed notebook is run on new kernels."""
        return True

    async def shutdown(self) -> None:
        """Called when the server is to end, while it still answers and its kernels live."""


class Plugin:
    """A personality, whatever its class and whether its methods are async.

    api: its name. Raises BadOption when the object is none, and for what its methods raise.
    """

    def __init__(self, api: str, personality: Any) -> None:
        self.api = api
        self._personality = personality

    @property
    def open_paths(self) -> tuple[str, ...]:
        return tuple(getattr(self._personality, "open_paths", ()))

    @property
    def drain_timeout_s(self) -> float:
        return float(getattr(self._personality, "drain_timeout_s", Personality.drain_timeout_s))

    async def init_configurables(self) -> None:
        await self._call("init_configurables")

    async def create_routes(self) -> Sequence[BaseRoute] | None:
        """The same routes without FastAPI, from a personality that has them: only ours may."""
        create = getattr(self._personality, "create_routes", None)
        return create() if create is not None and isinstance(self._personality, Personality) else None

    async def create_request_handlers(self) -> APIRouter:
        from fastapi import APIRouter

        router = await self._call("create_request_handlers")
        if router is None:
            return APIRouter()
        if not isinstance(router, APIRouter):
            found = type(router).__name__
            raise BadOption(f"api={self.api}: create_request_handlers returns a {found}, not a fastapi.APIRouter")
        return router

    async def describe(self) -> dict[str, Any] | None:
        document: dict[str, Any] | None = await self._call("describe")
        return document

    async def should_seed_cell(self, code: str) -> bool:
        return bool(await self._call("should_seed_cell", code))

    async def shutdown(self) -> None:
        await self._call("shutdown")

    async def _call(self, name: str, *arguments: Any) -> Any:
        method = getattr(self._personality, name, None) or partial(getattr(Personality, name), self._personality)
        try:
            result = method(*arguments)
            return await result if inspect.isawaitable(result) else result
        except FPSKernelsError:
            raise
        except Exception as exc:  # whatever somebody else's code may do
            raise BadOption(f"api={self.api}: {name} failed: {exc!r}") from exc


def load_personality(api: str, parent: KernelGatewayApp) -> Plugin:
    """Raises BadOption when there is no such module, or it is not a personality."""
    try:
        module = importlib.import_module(OURS.get(api, api))
        create = getattr(module, "create_personality", None)
        if create is None:
            raise BadOption(f"api={api}: the module has no create_personality")
        return Plugin(api, create(parent=parent))
    except FPSKernelsError:
        raise
    except Exception as exc:  # whatever a module of somebody else's may do
        raise BadOption(f"api={api}: {exc}") from exc
