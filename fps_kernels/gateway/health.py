"""The routes for whoever watches over the server."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Response

from ..http import error_response, json_response


def add_health(app: FastAPI, ready: Callable[[], bool]) -> None:
    """/healthz: the process answers. /readyz: it takes requests; 503 while it ends."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return json_response({"status": "ready"}) if ready() else error_response(503, "Not ready")
