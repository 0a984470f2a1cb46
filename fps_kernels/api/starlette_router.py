"""The routes on Starlette, for a host without users: a request that gets here may do everything."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from inspect import signature
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from .channels_endpoint import ChannelsEndpoint
from .cross_site import check_page
from .host import Host
from .responses import Handler, respond, security_headers
from .table import CHANNELS_PATH, Endpoint, fallbacks


class ExactRoute(Route):
    """A route with exactly the methods that it is given; Starlette's adds HEAD to GET."""

    def __init__(self, path: str, endpoint: Handler, *, methods: Collection[str], **options: Any) -> None:
        super().__init__(path, endpoint, methods=list(methods), **options)
        self.methods = set(methods)


class EndpointRoute(ExactRoute):
    """The route of an endpoint, which always answers in our form."""

    def __init__(self, endpoint: Endpoint, host: Host) -> None:
        names = tuple(signature(endpoint.answer).parameters)
        security = security_headers(host.base_url)

        async def answer(request: Request) -> Response:
            check_page(host, request)
            await host.on_request()
            given = {**request.path_params, "request": request}
            return await endpoint.answer(**{name: given[name] for name in names})

        async def handle(request: Request) -> Response:
            return await respond(answer, request, security)

        super().__init__(
            endpoint.path,
            handle,
            methods=endpoint.served_methods,
            name=endpoint.name,
            include_in_schema=endpoint.in_schema,
        )


def starlette_routes(table: Iterable[Endpoint], channels: ChannelsEndpoint, host: Host) -> list[BaseRoute]:
    """All routes, and the answers to requests that none of them takes."""
    routes: list[BaseRoute] = [EndpointRoute(endpoint, host) for endpoint in (*table, channels.plain)]

    async def serve(websocket: WebSocket) -> None:
        session_id = websocket.query_params.get("session_id")
        await channels.serve(websocket, websocket.path_params["kernel_id"], session_id, None)

    routes.append(WebSocketRoute(CHANNELS_PATH, serve))
    return routes + [EndpointRoute(endpoint, host) for endpoint in fallbacks(routes)]
