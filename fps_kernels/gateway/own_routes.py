"""The routes of the gateway's own: health, activity, Swagger 2."""

from __future__ import annotations

import json
from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Response

from ..http import error_response, json_response
from ..registry import KernelRegistry
from .activity import activity
from .swagger import swagger


def add_own_routes(app: FastAPI, base_url: str, ready: Callable[[], bool], registry: KernelRegistry) -> None:
    router = APIRouter()

    @router.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @router.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return json_response({"status": "ready"}) if ready() else error_response(503, "Not ready")

    @router.get("/_api/activity")
    async def get_activity() -> Response:
        return json_response(activity(registry))

    @router.get("/api/swagger.json", include_in_schema=False)
    async def swagger_json() -> Response:
        return json_response(swagger(app, base_url))

    @router.get("/api/swagger.yaml", include_in_schema=False)
    async def swagger_yaml() -> Response:
        # JSON is YAML; for machines there is nothing to gain from another form.
        return Response(json.dumps(swagger(app, base_url), indent=2), media_type="text/x-yaml")

    app.include_router(router)
