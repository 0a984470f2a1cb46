"""The routes of a notebook: its endpoints, and what is told of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..api.responses import error_response, json_response
from .handler import NotebookHandler, raw_path

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def notebook_router(
    handler: NotebookHandler, swagger: dict[str, Any], notebook: dict[str, Any] | None, static_path: str | None
) -> APIRouter:
    """swagger: the document. notebook: what can be downloaded. static_path: the folder that is /public."""
    router = APIRouter()

    @router.get("/_api/spec/swagger.json", include_in_schema=False)
    async def spec() -> Response:
        return json_response(swagger)

    if notebook is not None:

        @router.get("/_api/source", include_in_schema=False)
        async def source() -> Response:
            return json_response(notebook)

    if static_path is not None:
        files = StaticFiles(directory=static_path)

        @router.api_route("/public/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
        async def public(request: Request, path: str) -> Response:
            return await _file(files, path, request.scope)

    router.routes.append(_endpoint_route(handler))
    return router


def _endpoint_route(handler: NotebookHandler) -> APIRoute:
    """One route for all endpoints, as they are found by the path that was not unescaped yet."""

    class EndpointRoute(APIRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            if scope["type"] != "http" or handler.table.find(raw_path(scope)) is None:
                return Match.NONE, {}
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] in METHODS:
                await super().handle(scope, receive, send)
            else:  # FastAPI would name all that this route takes
                await handler.answer_unknown(scope)(scope, receive, send)

    async def answer(request: Request) -> Response:
        return await handler.answer(request)

    return EndpointRoute("/{path:path}", answer, methods=list(METHODS), response_model=None, include_in_schema=False)


async def _file(files: StaticFiles, path: str, scope: Scope) -> Response:
    try:
        response = await files.get_response(path or "index.html", scope)
    except HTTPException as exc:
        return error_response(exc.status_code, f"Not found: {scope['path']}")
    content_type = response.headers.get("content-type", "")
    response.headers["content-type"] = content_type.removesuffix("; charset=utf-8")
    return response
