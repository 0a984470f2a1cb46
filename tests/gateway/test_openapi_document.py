"""The OpenAPI document of the gateway: every endpoint is described, and JSON as it is made."""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict, get_type_hints

import msgspec
import pytest
from openapi_spec_validator import validate
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fps_kernels.api.kernel_endpoints import NewKernel
from fps_kernels.api.routes import KernelRoutes
from fps_kernels.api.session_endpoints import KernelBody, NewSession, SessionChange
from fps_kernels.execution.request_body import Input
from fps_kernels.gateway import endpoint_docs
from fps_kernels.gateway.endpoint_docs import OPERATIONS, KernelOfSession, KernelRequest, SessionRequest
from fps_kernels.gateway.gateway_host import GatewayHost
from fps_kernels.gateway.openapi_document import json_schema, openapi, operations
from fps_kernels.gateway.swagger import swagger
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.options import KernelsOptions

OF_THE_PERSONALITY = {("GET", "/_api/activity")}


@pytest.fixture(scope="module")
def kernels() -> KernelRoutes:
    return KernelRoutes(KernelRegistry(KernelsOptions(), Kernelspecs()), GatewayHost("/"))


@pytest.fixture(scope="module")
def document(kernels: KernelRoutes) -> dict[str, Any]:
    return json.loads(json.dumps(openapi(kernels.starlette_routes(), needs_token=True)))


def test_every_endpoint_of_the_table_is_described_and_nothing_else(kernels: KernelRoutes) -> None:
    table = {
        (method, endpoint.path.replace(":path}", "}"))
        for endpoint in kernels.table
        for method in endpoint.methods.split()
    }
    assert set(OPERATIONS) - OF_THE_PERSONALITY == table
    assert {(method, path) for path, method, _, _ in operations(kernels.starlette_routes())} == table


def test_a_validator_takes_the_documents(kernels: KernelRoutes, document: dict[str, Any]) -> None:
    validate(document)
    validate(json.loads(json.dumps(swagger(kernels.starlette_routes(), "/base/"))))


def test_every_operation_says_what_it_takes_and_what_it_answers(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["tags"] != ["other"]
            in_path = [one for one in operation.get("parameters", []) if one["in"] == "path"]
            assert [f"{{{one['name']}}}" for one in in_path] == [word for word in path.split("/") if word[:1] == "{"]
            assert all(one["description"] for one in operation.get("parameters", []))
            [success] = [answer for status, answer in operation["responses"].items() if status[0] == "2"]
            empty = method == "head" or "204" in operation["responses"]
            assert ("content" in success) is not empty, (path, method)
            assert "default" in operation["responses"]


def test_the_body_of_a_request_for_a_kernel(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/kernels"]["post"]
    assert set(operation["responses"]) == {"201", "400", "403", "404", "500", "503", "default"}
    body = operation["requestBody"]
    assert body["required"] is False
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/KernelRequest"}
    schema = document["components"]["schemas"]["KernelRequest"]
    assert schema["properties"]["name"] == {"type": "string", "nullable": True}
    assert "required" not in schema


@pytest.mark.parametrize(
    ("described", "read"),
    [
        (KernelRequest, NewKernel),
        (SessionRequest, NewSession),
        (endpoint_docs.SessionChange, SessionChange),
        (KernelOfSession, KernelBody),
        (endpoint_docs.Input, Input),
    ],
)
def test_bodies_are_described_as_they_are_read(described: type, read: type[msgspec.Struct]) -> None:
    """`notebook` is the form of notebook < 4.3; the ID of a session is in its path already."""
    assert set(get_type_hints(described)) == set(read.__struct_fields__) - {"notebook"} - (
        {"id"} if read is SessionChange else set()
    )


def test_a_server_without_a_token_asks_for_none(kernels: KernelRoutes) -> None:
    assert "security" not in openapi(kernels.starlette_routes(), needs_token=False)


def test_other_routes_are_described_by_their_names() -> None:
    async def say_hello(request: Request) -> Response:
        raise AssertionError

    routes: list[BaseRoute] = [
        Route("/hello/{who}", say_hello, methods=["POST"]),
        Route("/hidden", say_hello, include_in_schema=False),
    ]
    document = openapi(routes, needs_token=False)
    validate(json.loads(json.dumps(document)))
    assert list(document["paths"]) == ["/hello/{who}"]
    operation = document["paths"]["/hello/{who}"]["post"]
    assert (operation["summary"], operation["tags"]) == ("Say hello", ["other"])
    assert operation["parameters"] == [{"name": "who", "in": "path", "required": True, "schema": {"type": "string"}}]


class Inner(TypedDict, total=False):
    text: str


class OuterModel(TypedDict):
    inner: Inner | None
    inners: dict[str, list[Inner]]
    number: NotRequired[float | None]


def test_the_schema_of_a_type() -> None:
    schemas: dict[str, Any] = {}
    assert json_schema(OuterModel, schemas) == {"$ref": "#/components/schemas/Outer"}
    inner = {"$ref": "#/components/schemas/Inner"}
    assert schemas == {
        "Inner": {"type": "object", "properties": {"text": {"type": "string"}}},
        "Outer": {
            "type": "object",
            "properties": {
                "inner": {"allOf": [inner], "nullable": True},
                "inners": {"type": "object", "additionalProperties": {"type": "array", "items": inner}},
                "number": {"type": "number", "nullable": True},
            },
            "required": ["inner", "inners"],
        },
    }
