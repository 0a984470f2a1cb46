"""Endpoints of Starlette, from handlers that raise our errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....api.responses import Handler, respond


def answering(handler: Handler, security: Mapping[str, str]) -> Any:
    """The endpoint of a handler. security: the headers of its responses."""

    async def answer(request: Request) -> Response:
        return await respond(handler, request, security)

    return answer
