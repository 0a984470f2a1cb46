"""The route table for Jupyverse, which takes FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jupyverse_api.exceptions import RedirectException
from starlette.websockets import WebSocket

from ...api.cross_site import check_page
from ...api.responses import Handler, error_response, respond, security_headers
from ...api.routes import KernelRoutes
from ...api.table import CHANNELS_PATH, Endpoint, Permissions, fallbacks
from .users import Auth

HEADERS = "fps_kernels.headers"
"""Where a request has the headers that its dependencies want in the response."""


def api_router(kernels: KernelRoutes, auth: Auth, base_url: str) -> APIRouter:
    """The same table for FastAPI, which finds permissions in an endpoint's dependencies."""
    router = APIRouter(route_class=_api_route_class(base_url))

    async def check(request: Request) -> None:
        check_page(kernels.host, request)

    for endpoint in (*kernels.table, kernels.channels.plain):
        dependencies = [Depends(_note_headers), Depends(check), Depends(kernels.host.on_request)]
        if endpoint.permissions is not None:
            dependencies.append(Depends(auth.current_user(permissions=endpoint.permissions or None)))
        _add(router, endpoint, dependencies)
    authenticate = auth.websocket_auth(permissions={"kernels": ["read", "execute"]})

    @router.websocket(CHANNELS_PATH)
    async def channels(kernel_id: str, websocket_permissions: Any = Depends(authenticate)) -> None:
        if websocket_permissions is not None:  # else it was refused and closed already
            session_id = websocket_permissions[0].query_params.get("session_id")
            await serve_channels(kernels, kernel_id, session_id, websocket_permissions)

    for endpoint in fallbacks(list(router.routes)):
        _add(router, endpoint, [])
    return router


async def serve_channels(
    kernels: KernelRoutes,
    kernel_id: str,
    session_id: str | None,
    websocket_permissions: tuple[WebSocket, Permissions | None],
) -> None:
    """Serve a WebSocket that jupyverse's Auth has let in."""
    websocket, permissions = websocket_permissions
    granted = None if permissions is None else permissions.get("kernels", [])
    await kernels.channels.serve(websocket, kernel_id, session_id, granted)


def _add(router: APIRouter, endpoint: Endpoint, dependencies: list[Any]) -> None:
    for method in endpoint.served_methods:  # a route each: FastAPI's document names an operation after its route
        router.add_api_route(
            endpoint.path,
            endpoint.answer,
            methods=[method],
            dependencies=dependencies,
            include_in_schema=endpoint.in_schema and method != "HEAD",
            response_model=None,
            name=endpoint.name,
        )


async def _note_headers(request: Request, response: Response) -> None:
    """Note where dependencies leave headers, such as Auth its cookie: FastAPI drops them where a route makes responses.

    response: what all dependencies of a request share.
    """
    request.scope[HEADERS] = response.headers


def _api_route_class(base_url: str) -> type[APIRoute]:
    """A route class whose routes always answer in our form.

    Needed under a host like plain jupyverse, whose FastAPI runs in debug mode and would show
    tracebacks for a 500, whatever exception handlers say.
    """
    security = security_headers(base_url)

    class KernelsRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()

            async def checked(request: Request) -> Response:
                try:
                    return await answer(request)
                except RequestValidationError as exc:
                    fields = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors())
                    return error_response(422, f"Invalid request: {fields}")

            async def handle(request: Request) -> Response:
                response = await respond(checked, request, security, through=(RedirectException,))  # its way to a login
                for cookie in request.scope[HEADERS].getlist("set-cookie") if HEADERS in request.scope else ():
                    response.headers.append("set-cookie", cookie)
                return response

            return handle

    return KernelsRoute
