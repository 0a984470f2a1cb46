"""The personality that is the API of Jupyter Server, for programs: kernels over REST and WebSocket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from ..http import json_response
from .activity import activity
from .personality import Personality
from .pool import start_pool
from .swagger import swagger

if TYPE_CHECKING:
    from .app import KernelGatewayApp


class JupyterWebsocketPersonality(Personality):
    """The routes of the kernels component, and what the gateway adds to them.

    A pool of kernels is started with the server; they are listed, and not handed out to requests for new ones.
    """

    open_paths = ("api/swagger.json", "api/swagger.yaml")

    async def init_configurables(self) -> None:
        await start_pool(self.parent)

    def create_request_handlers(self) -> APIRouter:
        registry, base_url = self.parent.kernels.registry, self.parent.settings.base_url
        router = APIRouter()
        router.routes += self.parent.kernels.router.routes

        @router.get("/_api/activity")
        async def get_activity() -> Response:
            return json_response(activity(registry))

        @router.get("/api/swagger.json", include_in_schema=False)
        async def swagger_json() -> Response:
            return json_response(swagger(router.routes, base_url))

        @router.get("/api/swagger.yaml", include_in_schema=False)
        async def swagger_yaml() -> Response:
            # JSON is YAML; for machines there is nothing to gain from another form.
            return Response(json.dumps(swagger(router.routes, base_url), indent=2), media_type="text/x-yaml")

        return router


def create_personality(parent: KernelGatewayApp) -> JupyterWebsocketPersonality:
    return JupyterWebsocketPersonality(parent=parent)
