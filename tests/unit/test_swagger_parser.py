"""Endpoints from a Swagger document in a markdown cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fps_kernels.notebook_http.parsing.endpoints import EndpointTable
from fps_kernels.notebook_http.parsing.notebook_error import NotebookError
from fps_kernels.notebook_http.parsing.swagger_parser import parse

from ..support.cases import for_each
from ..support.notebooks import code_cell, markdown_cell


def document(paths: Any, **more: Any) -> str:
    return json.dumps({"swagger": "2.0", "paths": paths, **more}, indent=2)


def fenced(text: str) -> dict[str, Any]:
    return markdown_cell(f"The API:\n\n```json\n{text}\n```\n\nMore.")


def operation(name: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "parameters": list(parameters)}


def in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "type": "string"}


def parsed(paths: Any, *sources: str, **more: Any) -> EndpointTable:
    return parse([fenced(document(paths, **more)), *map(code_cell, sources)], "python")


def one_path(template: str, *parameters: dict[str, Any]) -> str:
    made = parsed({template: {"get": operation("f", *parameters)}}, "# operationId: f")
    return made.endpoints[0].path


def test_cells_of_an_operation_are_joined() -> None:
    made = parse(
        [
            code_cell("import os"),
            fenced(document({"/a": {"get": {"operationId": "getA"}, "post": {"operationId": "postA"}}})),
            code_cell("# operationId: getA\nx = 1"),
            code_cell("# operationId: postA "),
            code_cell("# operationId: getA\nprint(x)", stream=True),
            code_cell("# ResponseInfo operationId: getA\ny"),
        ]
    )
    get, post = made.endpoints
    assert (get.verb, get.path) == ("GET", "/a")
    assert get.source == "# operationId: getA\nx = 1\n# operationId: getA\nprint(x)\n"
    assert get.cells == (2, 4)
    assert get.stream
    assert get.response_info == "# ResponseInfo operationId: getA\ny\n"
    assert (post.verb, post.source, post.response_info) == ("POST", "# operationId: postA \n", None)
    assert made.seeds == ("import os",)
    assert made.warnings == ()
    assert made.document is not None
    assert made.document["swagger"] == "2.0"


@for_each("annotation", ["#operationId:f", "# operationId:f", "#operationId: f", "#  operationId:  f  "])
@for_each("verb", ["get", "GET", "Get"])
def test_forms_of_an_annotation(annotation: str, verb: str) -> None:
    made = parsed({"/a": {verb: {"operationId": "f"}}}, annotation)
    assert [(endpoint.verb, endpoint.path) for endpoint in made.endpoints] == [("GET", "/a")]


@pytest.mark.parametrize(
    "annotation", ["#ResponseInfo operationId:f", "# ResponseInfo  operationId: f", "#  ResponseInfo operationId: f"]
)
def test_forms_of_a_response_info(annotation: str) -> None:
    assert parsed({"/a": {"get": {"operationId": "f"}}}, "#operationId:f", annotation).endpoints[0].response_info


@for_each("source", ["# another comment", "x\n# operationId: f", " # operationId: f", "# GET /a"])
def test_other_code_cells_are_seeds(source: str) -> None:
    assert parsed({"/a": {"get": {"operationId": "f"}}}, "# operationId: f", source).seeds == (source,)


@for_each(
    ("template", "parameters", "path"),
    [
        ("/a/{id}/b/{other-id}", [in_path("id"), in_path("other-id")], "/a/:id/b/:other-id"),
        ("/a/{id}", [], "/a/:id"),
        ("/a/:id", [in_path("id")], "/a/:id"),
        ("/a", [in_path("x"), in_path("y")], "/a/:x/:y"),
        ("/a/{id}", [in_path("x"), in_path("id"), in_path("x")], "/a/:id/:x"),
        ("/a/", [in_path("x")], "/a/:x"),
        ("/a/", [], "/a/"),
        ("/", [in_path("x")], "/:x"),
        ("", [in_path("x")], "/:x"),
        ("", [], "/"),
        ("/a", [{"name": "q", "in": "query"}, {"name": "b", "in": "body"}], "/a"),
    ],
)
def test_the_path_of_an_operation(template: str, parameters: list[dict[str, Any]], path: str) -> None:
    assert one_path(template, *parameters) == path


def test_parameters_of_the_path_and_by_reference() -> None:
    paths = {
        "/a": {"parameters": [in_path("x")], "get": operation("f", {"$ref": "#/parameters/y~1z"}), "x-mine": 1},
        "x-more": 1,
    }
    made = parsed(paths, "# operationId: f", parameters={"y/z": in_path("y")})
    assert made.paths() == ("/a/:x/:y",)
    assert made.warnings == ()


def test_the_order_of_precedence() -> None:
    paths = {
        "/{foo}": {"post": operation("postRoot")},
        "/hello": {"post": operation("postHello", in_path("foo")), "get": operation("getHello", in_path("foo"))},
        "/hello/world": {"put": operation("putWorld")},
    }
    made = parsed(paths, *(f"# operationId:{name}" for name in ("putWorld", "getHello", "postHello", "postRoot")))
    assert made.paths() == ("/hello/world", "/hello/:foo", "/:foo")


def test_what_is_on_one_side_only_is_warned_of() -> None:
    paths = {"/foo": {"put": operation("declared"), "get": operation("get")}}
    made = parsed(
        paths, "# operationId: get", "# operationId: extra\nx", "# ResponseInfo operationId: declared", "# operationId:"
    )
    assert made.warnings == (
        "cell 4: operationId is not followed by a name, so the cell never runs",
        "cell 0: operationId 'declared' is declared, but no cell has it",
        "cell 2: operationId 'extra' is not declared, so the cell never runs",
        "cell 3: ResponseInfo for operationId 'declared', which no cell answers",
    )
    assert made.seeds == ()


@for_each(
    ("paths", "more", "warning"),
    [
        ({"/a": {"get": operation("f"), "options": {}}}, {}, "OPTIONS /a: 'options' is not served"),
        ({"/a": {"get": operation("f"), "post": {}}}, {}, "POST /a has no operationId"),
        ({"/a": {"get": operation("f", {"name": "x"})}}, {}, 'the parameter {"name": "x"} needs a name and an \'in\''),
        ({"/a": {"get": operation("f", {"$ref": "#/no/where"})}}, {}, "needs a name"),
        ({"/a": {"get": operation("f")}, "/b": {"get": operation("f")}}, {}, "'f' is declared more than once"),
        ({"/a": {"get": operation("f")}}, {"basePath": "/v1"}, "basePath '/v1' has no effect: set the option base_url"),
        ({"/{x}": {"get": operation("f")}, "/{y}": {"put": operation("g")}}, {}, "/:y is never reached: /:x gets"),
        ({"/a*": {"get": operation("f")}}, {}, "is literal"),
        ({"/a": {"get": operation("f", in_path("x"))}, "/a/{x}": {"get": operation("g")}}, {}, "'g' is not used"),
    ],
)
def test_what_has_no_effect_is_warned_of(paths: Any, more: dict[str, Any], warning: str) -> None:
    made = parsed(paths, "# operationId: f", "# operationId: g", **more)
    found = [line for line in made.warnings if warning in line]
    assert len(found) == 1
    assert found[0].startswith("cell 0: ")
    assert made.endpoints[0].path in ("/a", "/:x", "/a*", "/a/:x")


@for_each(
    "source",
    [
        "```\n{}\n```",
        "```json\n{}\n```",
        "~~~~\n{}\n~~~~",
        "   ```\n{}\n   ```",
        "```\n{}",
        "{}",
        "```\nother\n```\ntext\n```\n{}\n```",
    ],
)
def test_forms_of_a_fence(source: str) -> None:
    text = document({"/a": {"get": operation("f")}})
    made = parse([markdown_cell(source.replace("{}", text)), code_cell("# operationId: f")])
    assert made.paths() == ("/a",)


def test_a_later_document_replaces_what_it_has() -> None:
    made = parse(
        [
            fenced(document({"/a": {"get": operation("f")}}, info={"title": "A"})),
            fenced(document({"/b": {"get": operation("f")}})),
            code_cell("# operationId: f"),
        ]
    )
    assert made.paths() == ("/b",)
    assert made.document is not None
    assert made.document["info"] == {"title": "A"}
    assert made.warnings == ("cell 1: a second Swagger document, besides the one in cell 0",)


def test_a_broken_document_beside_a_good_one_is_warned_of() -> None:
    made = parse(
        [fenced('{"swagger": '), fenced(document({"/a": {"get": operation("f")}})), code_cell("# operationId: f")],
    )
    assert made.warnings[0].startswith("cell 0: its Swagger document is not JSON: ")


@for_each(
    ("cells", "message"),
    [
        ([], "no markdown cell has a fenced JSON block with 'swagger'"),
        ([markdown_cell("```\n{}\n```"), code_cell("x")], "no markdown cell has a fenced JSON block with 'swagger'"),
        ([code_cell(document({"/a": {"get": operation("f")}}))], "no markdown cell has"),
        ([code_cell("x"), fenced('{"swagger": "2.0",}')], "cell 1: its Swagger document is not JSON: "),
        ([fenced('{"swagger": "2.0"}')], "cell 0: in the Swagger document, paths is not a JSON object"),
        ([fenced(document([]))], "cell 0: in the Swagger document, paths is not a JSON object"),
        ([fenced(document({"/a": []}))], "cell 0: in the Swagger document, path '/a' is not a JSON object"),
        ([fenced(document({"/a": {"get": 1}}))], "cell 0: in the Swagger document, GET /a is not a JSON object"),
        ([fenced(document({"/a/{b}.c": {"get": operation("f")}}))], "cell 0: '{b}.c' in '/a/{b}.c': a parameter"),
        ([fenced(document({"a": {"get": operation("f")}}))], "cell 0: the path 'a' does not start with a slash"),
        ([fenced(document({"/{a}/{a}": {"get": operation("f")}}))], "cell 0: the parameter ':a' is in '/:a/:a' more"),
        (
            [fenced(document({"/{a.b}": {"get": operation("f")}}))],
            "cell 0: ':a.b' in '/:a.b' is not a name: a parameter",
        ),
        (
            [fenced(document({"/a": {"get": operation("f")}})), code_cell("# operationId: g")],
            "no cell has an annotation such as '# operationId: NAME' with a declared operation; "
            "cell 0: operationId 'f' is declared, but no cell has it; cell 1: operationId 'g' is not declared",
        ),
    ],
)
def test_a_notebook_that_cannot_be_served(cells: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(NotebookError) as refused:
        parse(cells)
    assert refused.value.message.startswith(message)
    assert "\n" not in refused.value.message


def test_the_comment_prefix_of_scala() -> None:
    made = parse([fenced(document({"/a": {"get": operation("f")}})), code_cell("// operationId: f")], "scala")
    assert made.paths() == ("/a",)
