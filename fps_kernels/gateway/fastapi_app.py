"""What a personality with a router of FastAPI needs. Imported for such a one only: FastAPI takes 0.4 s to import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from .. import __version__
from .openapi_document import TITLE, VERSION, openapi


def make_fastapi(routes: Sequence[BaseRoute]) -> FastAPI:
    """An application that can serve FastAPI's routes among others."""
    app = FastAPI(title=TITLE, version=__version__, openapi_url=None, redirect_slashes=False)
    app.router.routes[:] = routes  # include_router would copy them, or hide them in one route
    return app


def fastapi_openapi(routes: Sequence[BaseRoute], *, needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document of routes, among which are FastAPI's: those it describes itself."""
    document = openapi([route for route in routes if not isinstance(route, APIRoute)], needs_token=needs_token)
    theirs = get_openapi(title=TITLE, version=__version__, openapi_version=VERSION, routes=routes)
    for path, item in theirs["paths"].items():
        document["paths"].setdefault(path, {}).update(item)
    for kind, named in theirs.get("components", {}).items():
        document["components"].setdefault(kind, {}).update(named)
    return document
