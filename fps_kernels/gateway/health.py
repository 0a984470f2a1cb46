"""The routes for whoever watches over the server."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..api.responses import error_response, json_response
from ..api.starlette_router import ExactRoute


def health_routes(ready: Callable[[], bool]) -> list[BaseRoute]:
    """/healthz: the process answers. /readyz: it takes requests; 503 while it ends."""

    async def healthz(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(request: Request) -> Response:
        return json_response({"status": "ready"}) if ready() else error_response(503, "Not ready")

    return [
        ExactRoute("/healthz", healthz, methods=["GET"], include_in_schema=False),
        ExactRoute("/readyz", readyz, methods=["GET"], include_in_schema=False),
    ]
