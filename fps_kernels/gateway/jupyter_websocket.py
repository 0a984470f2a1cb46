"""The default personality: the API of Jupyter Server for kernels, over REST and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..api.responses import json_response
from .activity import activity
from .config import traits
from .personality_loader import Personality
from .prespawn import prespawn
from .swagger import swagger

if TYPE_CHECKING:
    from fastapi import APIRouter

    from .config.gateway_options import KernelGatewayApp


class JupyterWebsocketPersonality(Personality, traits.JupyterWebsocketPersonality):
    """The routes of the kernels API, the activity of kernels, and the Swagger document.

    The options are declared here only to keep traitlets from warning; `settings.read` reads them.
    """

    open_paths = ("api/swagger.json", "api/swagger.yaml")

    _documented: Sequence[BaseRoute] = ()

    async def init_configurables(self) -> None:
        await prespawn(self.context, self.context.settings.prespawn_count)

    def create_routes(self) -> list[BaseRoute]:
        registry, base_url = self.context.kernels.registry, self.context.settings.base_url

        async def get_activity(request: Request) -> Response:
            return json_response(activity(registry))

        async def swagger_json(request: Request) -> Response:
            return json_response(swagger(self._documented, base_url))

        async def swagger_yaml(request: Request) -> Response:
            # JSON is YAML, and programs gain nothing from another form.
            return Response(json.dumps(swagger(self._documented, base_url), indent=2), media_type="text/x-yaml")

        self._documented = routes = [
            *self.context.kernels.starlette_routes(),
            Route("/_api/activity", get_activity),
            Route("/api/swagger.json", swagger_json, include_in_schema=False),
            Route("/api/swagger.yaml", swagger_yaml, include_in_schema=False),
        ]
        return routes

    def create_request_handlers(self) -> APIRouter:
        router = super().create_request_handlers()
        self._documented = router.routes  # with those that a subclass adds
        return router


def create_personality(parent: KernelGatewayApp) -> JupyterWebsocketPersonality:
    return JupyterWebsocketPersonality(parent=parent)
