"""The API as a Swagger 2 document, from the routes that are served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute

from .. import __version__
from .openapi_document import operations


def swagger(routes: Iterable[BaseRoute], base_url: str) -> dict[str, Any]:
    """The document of all routes that are in the schema."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, names, operation in operations(routes):
        if method == "HEAD":
            continue
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "type": "string"} for name in names
        ]
        if operation.body is not None:
            parameters.append({"name": "body", "in": "body", "schema": {"type": "object"}})
        paths.setdefault(path, {})[method.lower()] = {
            "tags": [operation.tag],
            "summary": operation.summary,
            "parameters": parameters,
            "responses": {"default": {"description": "JSON; errors are {message, reason}"}},
        }
    return {
        "swagger": "2.0",
        "info": {
            "title": "Jupyter Kernel Gateway API",
            "description": "Kernels over REST and WebSocket",
            "version": __version__,
        },
        "basePath": base_url,
        "produces": ["application/json"],
        "consumes": ["application/json"],
        "paths": {path: paths[path] for path in sorted(paths)},
    }
