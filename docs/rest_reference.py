"""What stands on the page rest.md in the place of its marker: every endpoint, from the gateway's OpenAPI document.

The examples are commands for a shell in which the page's first ones have been run, and are run like that by a test: so
what they need is made before, and kernels and sessions are deleted at the end of their parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fps_kernels.gateway.endpoint_docs import OPERATIONS
from fps_kernels.gateway.openapi_document import openapi

TAGS = {
    "server": "The server",
    "kernelspecs": "Kernelspecs",
    "sessions": "Sessions",
    "execution": "Cells that the server executes",
    "kernels": "Kernels",
}
"""The parts of the page, in their order: the kernel of the examples is deleted last."""
NOTES = {
    "sessions": "A session is a notebook, or something else with a path, and its kernel.",
    "execution": "They need shared documents: `fps-kernels lab` and a Jupyter Server have them where "
    "[server-side execution](server-side-execution.md) is switched on, and that page explains the bodies. The gateway "
    "of this page answers 501.",
}
NOT_HERE = (
    '{"message": "Server-side execution is not available: this server has no shared documents", '
    '"reason": "Not Implemented"}'
)
"""What a gateway answers to all about the execution of cells."""
VALUES = {
    "kernel_id": "$KERNEL",
    "session_id": "$SESSION",
    "request_id": "some-request",
    "client_id": "me",
    "name": "python3",
    "file": "logo-64x64.png",
}
"""What stands in examples for the parameters of a path."""
BODIES = {
    ("POST", "/api/kernels"): {"name": "python3"},
    ("POST", "/api/security/csp-report"): {"csp-report": {}},
    ("POST", "/api/kernels/{kernel_id}/execute"): {"cell_id": "a-cell"},
    ("POST", "/api/kernels/{kernel_id}/requests/{request_id}/input"): {"value": "42"},
    ("POST", "/api/sessions"): {"path": "b.ipynb", "type": "notebook", "kernel": {"name": "python3"}},
    ("PATCH", "/api/sessions/{session_id}"): {"path": "renamed.ipynb"},
}
QUERIES = {"/api/resolvePath": "?path=."}
MORE = {("GET", "/kernelspecs/{name}/{file}"): "-o logo.png ", ("GET", "/kernels/events"): "-N --max-time 2 "}
"""Further options of curl."""
OTHER_PATHS = {"/kernels/static/{name}": "/kernels/static/icon.svg"}
"""Examples of paths for which VALUES has nothing that is there."""
ENDLESS = ("/kernels/events",)
"""Paths whose answers do not end by themselves: curl's exit code says then that its time was over."""


def lines() -> Iterator[str]:
    document = api_document()
    operations = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag, title in TAGS.items():
        yield from (f"## {title}", "")
        if tag in NOTES:
            yield from (NOTES[tag], "")
        chosen = [one for one in operations if one[2]["tags"] == [tag]]
        for path, method, operation in sorted(chosen, key=lambda one: one[1] == "DELETE"):
            yield from _operation(path, method, operation)
    yield from ("## Shapes", "", "Of bodies and answers. Every error is an [Error](#error).", "")
    for name, schema in document["components"]["schemas"].items():
        yield from _shape(name, schema)


def api_document() -> dict[str, Any]:
    """The document of the gateway, which has these routes; it is made here without a gateway."""
    return openapi([Route(path, _never, methods=[method]) for method, path in OPERATIONS], needs_token=True)


async def _never(_: Request) -> Response:
    raise AssertionError("nothing is served")


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {method} {path}", "", f"{operation['summary']}.", "")
    if parameters := operation.get("parameters"):
        yield from ("| parameter | in | |", "| --- | --- | --- |")
        for one in parameters:
            needed = ", needed" if one["required"] and one["in"] == "query" else ""
            yield f"| `{one['name']}` | {one['in']}{needed} | {one.get('description', '')} |"
        yield ""
    yield from ("| | | |", "| --- | --- | --- |")
    if body := operation.get("requestBody"):
        needed = "needed" if body["required"] else "may be left out"
        yield f"| body | {needed} | {_schema(body['content']['application/json']['schema'])} |"
    for status, response in sorted(operation["responses"].items()):
        content = response.get("content", {})
        if status.startswith("2"):
            yield f"| answer | {status} | {_content(content)} |"
        elif status != "default":
            yield f"| error | {status} | {response['description']} |"
    yield from ("", "```console", f"$ {example(method, path)}")
    if operation["tags"] == ["execution"]:
        yield NOT_HERE
    yield from ("```", "")


def _content(content: dict[str, Any]) -> str:
    if not content:
        return "nothing"
    [(media_type, one)] = content.items()
    if media_type == "application/json":
        return _schema(one["schema"])
    return "text" if media_type == "text/plain" else "the file"


def _schema(schema: dict[str, Any]) -> str:
    """A schema in words, with a link to the shape that it refers to."""
    if "allOf" in schema:
        return f"{_schema(schema['allOf'][0])}, or null"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    null = ", or null" if schema.get("nullable") else ""
    if schema.get("type") == "array":
        return f"a list of {_schema(schema['items'])}{null}"
    if schema.get("type") == "object":
        value = _schema(schema["additionalProperties"])
        return ("an object" if value == "anything" else f"an object, each value {value}") + null
    words = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}
    return words.get(schema.get("type", ""), "anything") + null


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "", "| key | value | |", "| --- | --- | --- |")
    for key, value in schema["properties"].items():
        optional = "" if key in schema.get("required", ()) else "may be missing"
        yield f"| `{key}` | {_schema(value)} | {optional} |"
    yield ""


def example(method: str, path: str) -> str:
    """A command that does it."""
    url = OTHER_PATHS.get(path, path)
    for name, value in VALUES.items():
        url = url.replace(f"{{{name}}}", value)
    verb = "" if method == "GET" or (method == "POST" and (method, path) in BODIES) else f"-X {method} "
    body = BODIES.get((method, path))
    data = f" -d '{json.dumps(body)}'" if body is not None else ""
    command = f'curl -sS {verb}{MORE.get((method, path), "")}-H "$AUTH" "$SERVER{url}{QUERIES.get(path, "")}"{data}'
    if (method, path) == ("POST", "/api/sessions"):
        take_id = """python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'"""
        return f"SESSION=$({command} | {take_id})"
    return f"{command} || true" if path in ENDLESS else command
