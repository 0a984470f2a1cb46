"""The API of a notebook as a Swagger 2 and as an OpenAPI 3 document. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .response.stream_formats import EVENT_STREAM, PLAIN

VERSION = "0.0.0"
"""The version of every API, as in Kernel Gateway: a notebook has none."""

Paths = Iterable[tuple[str, Sequence[str]]]
"""Each path, such as `/a/:name`, and its verbs."""

_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
"""Verbs whose requests have a body."""


def title(notebook: str) -> str:
    """The name of a notebook, without folders and extensions, from its path or its URL."""
    path = unquote(urlsplit(notebook).path) if "://" in notebook else notebook
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.partition(".")[0] or name


def swagger(
    notebook: str, paths: Paths, base_url: str = "/", declared: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The Swagger 2 document of a notebook.

    notebook: the path or the URL of the notebook.
    paths: the endpoints of the notebook; not used when there is a `declared` document.
    base_url: the prefix of all paths.
    declared: the document that is in the notebook; it is completed where it lacks something.

    Source: `/_api/spec/swagger.json` of Kernel Gateway, which is the same for paths without parameters. For others it
      writes `/a/:name` where Swagger has `/a/{name}`, so that no tool can call these paths.
    """
    document: dict[str, Any] = {"swagger": "2.0", **(declared or {})}
    info = document.get("info")
    document["info"] = {"version": VERSION, "title": title(notebook), **(info if isinstance(info, dict) else {})}
    if declared is None:
        document["paths"] = _paths(paths, _swagger_operation)
    document.setdefault("paths", {})
    if base_url.strip("/"):
        document.setdefault("basePath", "/" + base_url.strip("/"))
    return document


def openapi(
    notebook: str, paths: Paths, base_url: str = "/", streaming: Collection[tuple[str, str]] = ()
) -> dict[str, Any]:
    """The OpenAPI 3 document of a notebook, in the version that Swagger UI 4 reads.

    notebook, paths, base_url: as for `swagger`.
    streaming: the (path, verb) of the endpoints that are declared to stream.
    """

    def operation(path: str, verb: str, names: list[str]) -> dict[str, Any]:
        return _openapi_operation(verb, names, streams=(path, verb) in streaming)

    return {
        "openapi": "3.0.3",
        "info": {"title": title(notebook), "version": VERSION},
        "servers": [{"url": "/" + base_url.strip("/")}],
        "paths": _paths(paths, operation),
    }


def _paths(paths: Paths, operation: Callable[[str, str, list[str]], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The paths of either document; those that differ only in the names of parameters are one, with the first names."""
    items: dict[str, dict[str, Any]] = {}
    shapes: dict[str, tuple[str, list[str]]] = {}
    for path, verbs in paths:
        template, names, shape = _template(path)
        template, names = shapes.setdefault(shape, (template, names))
        item = items.setdefault(template, {})
        for verb in verbs:
            item.setdefault(verb.lower(), operation(path, verb, names))
    return items


def _template(path: str) -> tuple[str, list[str], str]:
    """A path with its parameters in braces, the names of these, and the path with empty braces."""
    names: list[str] = []
    template, shape = [], []
    for segment in path.split("/"):
        if segment.startswith(":") and len(segment) > 1:
            # A brace in a name would end it. Each name occurs once, as in the JSON of REQUEST.
            name = segment[1:].replace("{", "(").replace("}", ")")
            while name in names:
                name += "_"
            names.append(name)
            template.append(f"{{{name}}}")
            shape.append("{}")
        else:
            literal = quote(segment, safe="!$&'()*+,;=:@%-._~")
            template.append(literal)
            shape.append(literal)
    return "/".join(template), names, "/".join(shape)


def _swagger_operation(path: str, verb: str, names: list[str]) -> dict[str, Any]:
    operation: dict[str, Any] = {"responses": {"200": {"description": "Success"}}}
    if names:
        operation["parameters"] = [{"name": n, "in": "path", "required": True, "type": "string"} for n in names]
    return operation


def _openapi_operation(verb: str, names: list[str], *, streams: bool) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    success: dict[str, Any] = {"description": "Success"}
    if verb != "HEAD":
        success["content"] = {PLAIN: text, EVENT_STREAM: text}
    if streams:
        success["description"] = "The output of the cell, sent while it runs"
    operation: dict[str, Any] = {
        "responses": {"200": success, "500": {"description": "The cell failed"}},
    }
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if verb in _WITH_BODY:
        operation["requestBody"] = {
            "content": {
                "application/json": {"schema": {}},
                "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                "multipart/form-data": {"schema": {"type": "object"}},
                "text/plain": text,
            }
        }
    return operation
