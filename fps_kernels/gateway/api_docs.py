"""The API for its readers: /openapi.json, and /docs, which is Swagger UI from this server and not from a CDN."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from ..api.responses import json_response
from .openapi_document import TITLE

CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'"
)
"""Swagger UI is started by a script in its page, which holds its icons, too."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>{title}</title>
<link rel="stylesheet" href="{folder}swagger-ui.css{query}">
<link rel="icon" href="{folder}favicon-32x32.png{query}">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{folder}swagger-ui-bundle.js{query}"></script>
<script>
SwaggerUIBundle({{
  url: {document},
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset]
}})
</script>
</body>
</html>
"""


def document_routes(make_document: Callable[[], dict[str, Any]], base_url: str) -> list[BaseRoute]:
    """The routes of the document and of Swagger UI. make_document: called once, at the first request for it."""
    document: dict[str, Any] = {}

    async def openapi(request: Request) -> Response:
        if not document:
            document.update(make_document())
        servers = document.get("servers", [])
        root = request.scope.get("root_path", "")
        if root and root not in [server.get("url") for server in servers]:
            return json_response({**document, "servers": [{"url": root}, *servers]})
        return json_response(document)

    async def docs(request: Request) -> Response:
        token = request.query_params.get("token")  # the page's own requests need it as well
        query = "?" + urlencode({"token": token}) if token else ""
        page = PAGE.format(
            title=html.escape(f"{TITLE} - Swagger UI"),
            folder=html.escape(f"{base_url}docs/static/"),
            query=html.escape(query),
            document=json.dumps(f"{base_url}openapi.json{query}").replace("<", "\\u003c"),
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": CSP, "Cache-Control": "no-store"})

    async def static(request: Request) -> Response:
        from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

        return await StaticFiles(directory=swagger_ui_path).get_response(request.path_params["name"], request.scope)

    return [
        Route("/openapi.json", openapi, include_in_schema=False),
        Route("/docs", docs, include_in_schema=False),
        Route("/docs/static/{name}", static, include_in_schema=False),
    ]
