"""What all our HTTP routes share: JSON in, JSON out, errors, and the headers clients rely on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket

from ..errors import FPSKernelsError, InvalidBody, InvalidField, MissingField

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
"""No request of this API comes near it."""
MAX_TEXT_BYTES = 65_536
"""Texts end in environment variables and paths; Linux takes variables of up to 128 KiB."""


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BodyTooLarge(InvalidBody):
    status = 413


class JSONBody:
    """The JSON object that a client sent, asked field by field; each error names its field."""

    def __init__(self, data: Mapping[str, Any], prefix: str = "") -> None:
        self._data = data
        self._prefix = prefix

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def text(self, name: str) -> str | None:
        """A string, or None for null or nothing. Raises InvalidField."""
        value = self._data.get(name)
        if value is None:
            return None
        if not _is_text(value):
            raise InvalidField(self._prefix + name, _TEXT)
        return str(value)

    def required_text(self, name: str) -> str:
        """Raises MissingField, InvalidField."""
        value = self.text(name)
        if value is None:
            raise MissingField(self._prefix + name)
        return value

    def child(self, name: str) -> JSONBody | None:
        """An object, or None for null or nothing. Raises InvalidField."""
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise InvalidField(self._prefix + name, "an object")
        return JSONBody(value, f"{self._prefix}{name}.")

    def environment(self, name: str) -> dict[str, str]:
        """An object of strings, for environment variables. Raises InvalidField."""
        child = self.child(name)
        if child is None:
            return {}
        for key, value in child._data.items():
            if not _is_text(value) or not _is_text(key) or not key or "=" in key:
                field = f"{self._prefix}{name}.{key[:100]}"
                raise InvalidField(field, f"{_TEXT}, under a name that the environment allows")
        return dict(child._data)


_TEXT = f"a string of up to {MAX_TEXT_BYTES} bytes, without NUL"


def _is_text(value: object) -> bool:
    """Whether it can be a path or an environment variable: JSON also has NUL and halves of surrogate pairs."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        return len(value.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:
        return False


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Raises BodyTooLarge."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(f"The body is larger than {max_bytes} bytes")
    return bytes(data)


async def read_json(request: Request) -> JSONBody | None:
    """The body of a request; None when it is empty or null.

    Raises InvalidBody, BodyTooLarge.
    """
    data = await read_body(request)
    if not data.strip():
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidBody("The body is not valid JSON") from exc
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidBody("The body is not a JSON object")
    return JSONBody(value)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, dict(headers or {}), "application/json")


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The one form that errors have: what happened, and the status in words."""
    return json_response({"message": message, "reason": _phrase(status)}, status, headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def security_headers(base_url: str) -> dict[str, str]:
    """What every answer has: that it is what it says, and that a browser runs nothing of it."""
    return {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": f"frame-ancestors 'self'; report-uri {base_url}api/security/csp-report; "
        "default-src 'none'",
    }


class ExactRoute(Route):
    """Takes only the methods that it is given; Starlette's own takes HEAD wherever it takes GET."""

    def __init__(self, path: str, endpoint: Handler, *, methods: Collection[str], **options: Any) -> None:
        super().__init__(path, endpoint, methods=list(methods), **options)
        self.methods = set(methods)


async def respond(
    handler: Handler, request: Request, security: Mapping[str, str], through: tuple[type[Exception], ...] = ()
) -> Response:
    """What the handler answers, or its error, always in our form, with its ETag and security headers.

    through: errors that are the host's business.
    """
    response = await _guard(handler, request, through)
    if response.status_code == 200 and request.method in ("GET", "HEAD"):
        response = _not_modified(request, response)
    response.headers.update(security)
    return response


async def _guard(handler: Handler, request: Request, through: tuple[type[Exception], ...]) -> Response:
    try:
        return await handler(request)
    except through:
        raise
    except FPSKernelsError as exc:
        if exc.status >= 500:
            logger.warning("%s %s: %s", request.method, request.url.path, exc)
        return error_response(exc.status, exc.message)
    except HTTPException as exc:
        return error_response(exc.status_code, str(exc.detail), exc.headers)
    except Exception:  # a fault of ours: all of it to the log, nothing of it to the client
        logger.exception("%s %s failed", request.method, request.url.path)
        return error_response(500, "Internal Server Error")


def _not_modified(request: Request, response: Response) -> Response:
    """Give a 200 its ETag, and answer 304 to who has it already."""
    etag = response.headers.get("etag")
    if etag is None:
        if not response.body:
            return response
        etag = f'"{hashlib.sha1(response.body, usedforsecurity=False).hexdigest()}"'
        response.headers["etag"] = etag
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag not in known and "*" not in known:
        return response
    kept = {name: response.headers[name] for name in ("etag", "last-modified") if name in response.headers}
    return Response(status_code=304, headers=kept)


async def deny(websocket: WebSocket, status: int, message: str) -> None:
    """Answer the upgrade request with an HTTP error in JSON, instead of accepting it."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(error_response(status, message))
    else:
        await websocket.close(1008, message)
