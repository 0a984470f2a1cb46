"""The routes for monitoring."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..api.responses import error_response, json_response

HEALTH_PATHS = ("healthz", "readyz")
"""The paths below the base URL; they need no token."""


def health_routes(trouble: Callable[[], str]) -> list[BaseRoute]:
    """/healthz: 200 while the process answers. /readyz: 200 while it takes requests, 503 with the reason otherwise.

    trouble: returns why it takes none; "" if it does.
    """

    async def healthz(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(request: Request) -> Response:
        reason = trouble()
        return error_response(503, reason) if reason else json_response({"status": "ready"})

    return [
        Route("/healthz", healthz, include_in_schema=False),
        Route("/readyz", readyz, include_in_schema=False),
    ]
