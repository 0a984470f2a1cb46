"""The API as an OpenAPI 3 document, from the routes that are served."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from starlette.routing import BaseRoute, Route

from .. import __version__
from .endpoint_docs import OPERATIONS, PARAMETERS, Error, Events, File, Operation, Page, Text

TITLE = "Jupyter Kernel Gateway"
DESCRIPTION = "Kernels over REST and WebSocket. The WebSocket of a kernel is /api/kernels/{kernel_id}/channels."
VERSION = "3.0.3"
"""The version of OpenAPI. Swagger UI 4 does not read 3.1."""
SECURITY_SCHEMES = {
    "header": {"type": "http", "scheme": "bearer", "description": "`Authorization: token X` or `Bearer X`"},
    "query": {"type": "apiKey", "in": "query", "name": "token"},
}
MEDIA_TYPES: dict[Any, tuple[str, dict[str, str]]] = {
    File: ("*/*", {"type": "string", "format": "binary"}),
    Text: ("text/plain", {"type": "string"}),
    Page: ("text/html", {"type": "string"}),
    Events: ("text/event-stream", {"type": "string"}),
}
"""Answers that are not JSON: their media types and schemas."""
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}


def operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, list[str], Operation]]:
    """Each documented method: its path, as in OpenAPI, the method, the path's parameters, and the operation.

    Routes that OPERATIONS does not know are described by their names.
    """
    for route in routes:
        if isinstance(route, Route) and route.include_in_schema:
            path = _PARAMETER.sub(r"{\1}", route.path)
            for method in sorted(route.methods or ()):
                known = OPERATIONS.get((method, path))
                if known is None and method == "HEAD":  # Starlette adds it to each GET
                    continue
                summary = route.name.replace("_", " ").strip().capitalize()
                body = Any if method in ("POST", "PUT", "PATCH") else None
                other = Operation(summary, "other", answer=Any, body=body)
                yield path, method, _PARAMETER.findall(route.path), known or other


def openapi(routes: Iterable[BaseRoute], *, needs_token: bool) -> dict[str, Any]:
    """The document of all routes that are in the schema."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for path, method, names, operation in operations(routes):
        tags[operation.tag] = None
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, names, operation, schemas)
    document = {
        "openapi": VERSION,
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": SECURITY_SCHEMES},
    }
    if needs_token:
        document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return document


def _operation(
    path: str, method: str, names: Sequence[str], operation: Operation, schemas: dict[str, Any]
) -> dict[str, Any]:
    """schemas: takes the schemas of the types that are referred to."""
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        | ({"description": PARAMETERS[name]} if name in PARAMETERS else {})
        for name in names
    ]
    for name, description in operation.query.items():
        required = name in operation.required
        schema = {"type": "string"}
        parameters.append(
            {"name": name, "in": "query", "required": required, "description": description, "schema": schema}
        )
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer in MEDIA_TYPES:
        media_type, schema = MEDIA_TYPES[operation.answer]
        success["content"] = {media_type: {"schema": schema}}
    elif operation.answer is not None:
        success["content"] = {"application/json": {"schema": json_schema(operation.answer, schemas)}}
    error = {"application/json": {"schema": json_schema(Error, schemas)}}
    failures: dict[str, Any] = {
        str(status): {"description": description, "content": error}
        for status, description in sorted(operation.errors.items())
    }
    failures["default"] = {"description": "Another error", "content": error}
    if method == "HEAD":
        for failure in failures.values():
            failure.pop("content")
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]),
        "responses": {str(operation.status): success, **failures},
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": json_schema(operation.body, schemas)}},
        }
    return described


def json_schema(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type. schemas: takes those of the TypedDicts in it, by name."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if origin is list:
        return {"type": "array", "items": json_schema(arguments[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": json_schema(arguments[1], schemas)}
    if origin in (Union, UnionType):
        [inner] = [json_schema(one, schemas) for one in arguments if one is not NoneType]
        # In OpenAPI 3.0 all that stands beside a reference is ignored.
        return {"allOf": [inner], "nullable": True} if "$ref" in inner else {**inner, "nullable": True}
    if is_typeddict(hint):
        name = hint.__name__.removesuffix("Model")
        if name not in schemas:
            hints = get_type_hints(hint, include_extras=True)
            optional = {key for key, one in hints.items() if get_origin(one) is NotRequired}
            required = [key for key in hints if key not in optional] if hint.__total__ else []
            properties = {
                key: json_schema(get_args(one)[0] if key in optional else one, schemas) for key, one in hints.items()
            }
            schemas[name] = {"type": "object", "properties": properties}
            if required:
                schemas[name]["required"] = required
        return {"$ref": f"#/components/schemas/{name}"}
    return {}  # anything
