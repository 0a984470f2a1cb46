"""The routes of a notebook: its document, its source, files beside it, and its endpoints."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from ..api.responses import error_response, json_response
from .endpoint_route import Answer, EndpointRoute
from .parsing.endpoints import EndpointTable


def notebook_routes(
    table: EndpointTable,
    answer: Answer,
    swagger: dict[str, Any],
    notebook: dict[str, Any] | None,
    static_path: str | None,
) -> list[BaseRoute]:
    """The routes below the base URL, in their order.

    swagger: the Swagger document of the notebook.
    notebook: the notebook that can be downloaded, or None.
    static_path: the folder that is served as /public, or None.
    """

    async def spec(request: Request) -> Response:
        return json_response(swagger)

    async def source(request: Request) -> Response:
        return json_response(notebook)

    routes: list[BaseRoute] = [Route("/_api/spec/swagger.json", spec)]
    if notebook is not None:
        routes.append(Route("/_api/source", source))
    if static_path is not None:
        files = StaticFiles(directory=static_path)

        async def public(request: Request) -> Response:
            path = request.path_params["path"] or "index.html"
            try:
                if is_hidden(path):
                    raise HTTPException(404)
                response = await files.get_response(path, request.scope)
            except HTTPException as exc:
                return error_response(exc.status_code, f"Not found: {request.scope['path']}")
            content_type = response.headers.get("content-type", "")
            response.headers["content-type"] = content_type.removesuffix("; charset=utf-8")  # a guess of Starlette's
            return response

        routes.append(Route("/public/{path:path}", public))
    return [*routes, EndpointRoute(table, answer)]


def is_hidden(path: str) -> bool:
    """Whether a file is nobody's business, such as .env or something in .git. RFC 8615 wants .well-known served."""
    names = path.replace("\\", "/").split("/")
    return any(name.startswith(".") for name in names if name not in (".", ".well-known"))
