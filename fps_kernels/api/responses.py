"""Responses: JSON, errors, and the headers that clients rely on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from ..errors import FPSKernelsError
from ..serving.json_responses import error_response, json_response
from ..serving.page_headers import api_policy

__all__ = ["Handler", "deny", "error_response", "json_response", "respond", "security_headers"]

logger = logging.getLogger(__name__)

OF_A_304 = ("etag", "last-modified", "cache-control", "content-security-policy", "referrer-policy")
"""What a 304 says again: a browser takes its headers for those of the page that it has."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def security_headers(base_url: str) -> dict[str, str]:
    """The headers of every response: browsers must believe its content type, and run nothing in it."""
    return {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": api_policy(base_url)}


async def respond(
    handler: Handler, request: Request, security: Mapping[str, str], through: tuple[type[Exception], ...] = ()
) -> Response:
    """The handler's response, or its error in our form, with ETag and security headers.

    through: errors that the host handles itself.
    """
    try:
        response = await handler(request)
    except through:
        raise
    except FPSKernelsError as exc:
        if exc.status >= 500:
            logger.warning("%s %s: %s", request.method, request.url.path, exc)
        response = error_response(exc.status, exc.message)
    except HTTPException as exc:
        response = error_response(exc.status_code, str(exc.detail), exc.headers)
    except ClientDisconnect:
        response = error_response(400, "The request broke off")  # nobody reads it
    except Exception:  # a bug of ours: the log gets all of it, the client nothing
        logger.exception("%s %s failed", request.method, request.url.path)
        response = error_response(500, "Internal Server Error")
    if response.status_code == 200 and request.method in ("GET", "HEAD"):
        response = _not_modified(request, response)
    for name, value in security.items():
        response.headers.setdefault(name, value)  # a page has a policy of its own
    return response


def _not_modified(request: Request, response: Response) -> Response:
    """The response with an ETag, or a 304 if the client has it already."""
    etag = response.headers.get("etag")
    if etag is None:
        if not response.body:
            return response
        etag = f'"{hashlib.sha1(response.body, usedforsecurity=False).hexdigest()}"'
        response.headers["etag"] = etag
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag not in known and "*" not in known:
        return response
    kept = {name: response.headers[name] for name in OF_A_304 if name in response.headers}
    return Response(status_code=304, headers=kept)


async def deny(websocket: WebSocket, status: int, message: str) -> None:
    """Refuse a WebSocket with an HTTP error in JSON, instead of accepting it."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(error_response(status, message))
    else:
        await websocket.close(1008, message)
