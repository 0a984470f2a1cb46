"""The personality that is the API of Jupyter Server, for programs: kernels over REST and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..api.responses import Handler, json_response
from ..api.starlette_router import ExactRoute
from .activity import activity
from .config import traits
from .personality_loader import Personality
from .prespawn import start_pool
from .swagger import swagger

if TYPE_CHECKING:
    from fastapi import APIRouter

    from .config.gateway_options import KernelGatewayApp


class JupyterWebsocketPersonality(Personality, traits.JupyterWebsocketPersonality):
    """The routes of the kernels component, and what the gateway adds to them.

    Its options are read with all others; traitlets would warn of them here if this class had them not.

    A pool of kernels is started with the server; they are listed, and not handed out to requests for new ones.
    """

    open_paths = ("api/swagger.json", "api/swagger.yaml")

    async def init_configurables(self) -> None:
        await start_pool(self.parent)

    def create_routes(self) -> Sequence[BaseRoute] | None:
        """The same as `create_request_handlers`; None for a subclass, which may have changed those.

        What documents the API is made from the others, when somebody asks for it.
        """
        if type(self) is not JupyterWebsocketPersonality:
            return None
        routes = self.parent.kernels.starlette_routes()
        routes += [
            ExactRoute(path, answer, methods=["GET"], include_in_schema=shown)
            for path, answer, shown in self._additions(lambda: routes)
        ]
        return routes

    def create_request_handlers(self) -> APIRouter:
        from ..hosts.asphalt.plugin import api_router
        from .auth import TokenAuth

        router = api_router(self.parent.kernels, TokenAuth(), self.parent.settings.base_url)
        for path, answer, shown in self._additions(lambda: router.routes):
            router.add_api_route(path, answer, methods=["GET"], include_in_schema=shown, response_model=None)
        return router

    def _additions(self, routes: Callable[[], Iterable[BaseRoute]]) -> list[tuple[str, Handler, bool]]:
        """Path, handler, and whether it is in the documents, which are of `routes`."""
        registry, base_url = self.parent.kernels.registry, self.parent.settings.base_url

        async def get_activity(request: Request) -> Response:
            return json_response(activity(registry))

        async def swagger_json(request: Request) -> Response:
            return json_response(swagger(routes(), base_url))

        async def swagger_yaml(request: Request) -> Response:
            # JSON is YAML; for machines there is nothing to gain from another form.
            return Response(json.dumps(swagger(routes(), base_url), indent=2), media_type="text/x-yaml")

        return [
            ("/_api/activity", get_activity, True),
            ("/api/swagger.json", swagger_json, False),
            ("/api/swagger.yaml", swagger_yaml, False),
        ]


def create_personality(parent: KernelGatewayApp) -> JupyterWebsocketPersonality:
    return JupyterWebsocketPersonality(parent=parent)
