"""Personalities: modules with `create_personality(parent)`, which decide what the gateway serves."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute
from traitlets.config import LoggingConfigurable

from ..errors import BadOption, FPSKernelsError
from .context import GatewayContext

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
    """A base for what `create_personality` returns; objects of other classes will do, too. All methods may be async.

    context: set before `init_configurables` is called. Its `kernels` is like the resource that Jupyverse's plugins
      get: it starts kernels (`kernels.registry.start(name)`) and has their clients (`kernels.get_client(kernel_id)`).
    parent: the KernelGatewayApp, which has the same as attributes.
    """

    parent: KernelGatewayApp
    context: GatewayContext
    open_paths: Sequence[str] = ()
    """Paths below the base URL, without a leading slash, that need no token."""
    shutdown_timeout_s: float = 20.0
    """Seconds that `shutdown` may take; the server answers requests meanwhile."""

    async def init_configurables(self) -> None:
        """Called when kernels can be started and before anything is served. An error ends the program."""

    def create_routes(self) -> Sequence[BaseRoute]:
        """The routes below the base URL."""
        return ()

    def create_request_handlers(self) -> APIRouter:
        """The routes below the base URL, as a router of FastAPI.

        It is called instead of `create_routes` if a subclass overrides it. The router that it gets from here
        has the routes of `create_routes`.
        """
        from fastapi import APIRouter

        router = APIRouter()
        router.routes += self.create_routes()
        return router

    def describe(self) -> dict[str, Any] | None:
        """The OpenAPI document; None if it is to be made from the routes."""
        return None

    def should_seed_cell(self, code: str) -> bool:
        """Whether a cell of the seed notebook is run on new kernels."""
        return True

    async def shutdown(self) -> None:
        """Called when the server is shutting down, while it still answers and its kernels run."""


class LoadedPersonality:
    """A personality of any class, with sync or async methods.

    api: the name it was loaded by.

    Methods raise BadOption for errors of the personality.
    """

    def __init__(self, api: str, personality: Any) -> None:
        self.api = api
        self._personality = personality

    def set_context(self, context: GatewayContext) -> None:
        """Give it what it works with; one of another class has only what is on its `parent`."""
        if isinstance(self._personality, Personality):
            self._personality.context = context

    @property
    def open_paths(self) -> tuple[str, ...]:
        return tuple(getattr(self._personality, "open_paths", ()))

    @property
    def shutdown_timeout_s(self) -> float:
        return float(getattr(self._personality, "shutdown_timeout_s", Personality.shutdown_timeout_s))

    @property
    def uses_fastapi(self) -> bool:
        """Whether its routes come in a router of FastAPI: which of the two methods it overrides last."""
        for names in (getattr(self._personality, "__dict__", {}), *map(vars, type(self._personality).__mro__)):
            if "create_routes" in names:
                return False
            if "create_request_handlers" in names:
                return True
        return False

    async def init_configurables(self) -> None:
        await self._call("init_configurables")

    async def create_routes(self) -> list[BaseRoute]:
        if not self.uses_fastapi:
            routes = list(await self._call("create_routes") or ())
            for route in routes:
                if not isinstance(route, BaseRoute):
                    found = type(route).__name__
                    raise BadOption(f"api={self.api}: create_routes returns a {found}, not a Starlette route")
            return routes
        from fastapi import APIRouter

        router = await self._call("create_request_handlers")
        if router is None:
            return []
        if not isinstance(router, APIRouter):
            found = type(router).__name__
            raise BadOption(f"api={self.api}: create_request_handlers returns a {found}, not a fastapi.APIRouter")
        return list(router.routes)

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
        except Exception as exc:  # a personality may raise anything
            raise BadOption(f"api={self.api}: {name} failed: {exc!r}") from exc


def load_personality(api: str, parent: KernelGatewayApp) -> LoadedPersonality:
    """Raises BadOption if there is no such module, or if it is not a personality."""
    try:
        module = importlib.import_module(OURS.get(api, api))
        create = getattr(module, "create_personality", None)
        if create is None:
            raise BadOption(f"api={api}: the module has no create_personality")
        return LoadedPersonality(api, create(parent=parent))
    except FPSKernelsError:
        raise
    except Exception as exc:  # a module may raise anything
        raise BadOption(f"api={api}: {exc}") from exc
