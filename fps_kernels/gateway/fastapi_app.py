"""A personality's router in a FastAPI, with the API's documents: OpenAPI 3, and Swagger UI without a CDN."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from .. import __version__

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'"
)
"""Swagger UI starts by a script in its page, and has its icons there."""


def make_fastapi(
    routes: Iterable[BaseRoute], router: APIRouter, base_url: str, document: dict[str, Any] | None
) -> FastAPI:
    """The application with all of them; `routes` come first, and are in no document."""
    app = FastAPI(
        title="Jupyter Kernel Gateway",
        version=__version__,
        debug=False,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes += routes
    app.router.routes += router.routes  # not include_router, which would hide them in one route or copy them
    _add_documents(app, base_url, document, list(router.routes))
    return app


def _add_documents(app: FastAPI, base_url: str, document: dict[str, Any] | None, routes: list[BaseRoute]) -> None:
    """Swagger UI at /docs; /openapi.json is `document`, or what FastAPI makes of the routes."""

    @cache
    def openapi() -> dict[str, Any]:
        # 3.0: Swagger UI 4 does not read 3.1.
        return document or get_openapi(title=app.title, version=app.version, openapi_version="3.0.3", routes=routes)

    # Not only openapi_schema: recent versions of FastAPI replace that when they have not made it themselves.
    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        token = request.query_params.get("token")  # the page's own requests need it as well
        query = "?" + urlencode({"token": token}) if token else ""
        page = get_swagger_ui_html(
            openapi_url=f"{base_url}openapi.json{query}",
            title=app.title,
            swagger_js_url=f"{base_url}docs/static/swagger-ui-bundle.js{query}",
            swagger_css_url=f"{base_url}docs/static/swagger-ui.css{query}",
            swagger_favicon_url=f"{base_url}docs/static/favicon-32x32.png{query}",
        )
        page.headers["Content-Security-Policy"] = POLICY
        return page

    @app.get("/docs/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

        return await StaticFiles(directory=swagger_ui_path).get_response(name, request.scope)
