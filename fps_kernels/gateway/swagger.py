"""The API as a Swagger 2 document, from the routes that are there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Route

from .. import __version__

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def swagger(routes: Iterable[BaseRoute], base_url: str) -> dict[str, Any]:
    """All of the routes that are in the schema."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, Route) and route.include_in_schema:
            path = _PARAMETER.sub(r"{\1}", route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                paths.setdefault(path, {})[method.lower()] = _operation(route, method)
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


def _operation(route: Route, method: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string"} for name in _PARAMETER.findall(route.path)
    ]
    if method in ("POST", "PUT", "PATCH"):
        parameters.append({"name": "body", "in": "body", "schema": {"type": "object"}})
    return {
        "summary": route.name.replace("_", " ").strip(),
        "parameters": parameters,
        "responses": {"default": {"description": "JSON; errors are {message, reason}"}},
    }
