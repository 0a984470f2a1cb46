"""The documents about the API of a notebook."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.openapi import openapi, swagger, title

from ..support.cases import for_each

PATHS = [("/name", ["GET", "POST"]), ("/a/:first/b/:last", ["HEAD", "PATCH", "DELETE"])]
SUCCESS = {"responses": {"200": {"description": "Success"}}}


@for_each(
    ("notebook", "name"),
    [
        ("simple_api.ipynb", "simple_api"),
        ("/srv/api.v2.ipynb", "api"),
        ("https://example.org/a%20b.ipynb?token=x#y", "a b"),
        ("api", "api"),
        (".hidden", ".hidden"),
        ("", ""),
    ],
)
def test_the_title_is_the_name_of_the_notebook(notebook: str, name: str) -> None:
    assert title(notebook) == name


def test_swagger_without_parameters_is_that_of_the_original() -> None:
    assert swagger("/x/simple_api.ipynb", PATHS[:1]) == {
        "swagger": "2.0",
        "info": {"version": "0.0.0", "title": "simple_api"},
        "paths": {"/name": {"get": SUCCESS, "post": SUCCESS}},
    }


def test_parameters_are_declared() -> None:
    document = swagger("n", PATHS, "/base/")
    assert document["basePath"] == "/base"
    operations = document["paths"]["/a/{first}/b/{last}"]
    assert list(operations) == ["head", "patch", "delete"]
    assert operations["head"]["parameters"] == [
        {"name": "first", "in": "path", "required": True, "type": "string"},
        {"name": "last", "in": "path", "required": True, "type": "string"},
    ]


def test_the_document_of_the_notebook_itself_is_sent() -> None:
    declared = {"swagger": "2.0", "paths": {"/x": {"get": {"operationId": "x"}}}, "info": {"title": "T"}, "a": 1}
    document = swagger("n.ipynb", PATHS, "/", declared)
    assert document == {**declared, "info": {"title": "T", "version": "0.0.0"}}
    assert declared["info"] == {"title": "T"}
    assert swagger("n.ipynb", PATHS, "/", {"swagger": "2.0", "info": None})["info"]["title"] == "n"


def test_paths_that_differ_in_names_only_are_one() -> None:
    for document in (
        swagger("n", [("/:a", ["GET"]), ("/:b", ["PUT"])]),
        openapi("n", [("/:a", ["GET"]), ("/:b", ["PUT"])]),
    ):
        assert list(document["paths"]) == ["/{a}"]
        assert [p["name"] for p in document["paths"]["/{a}"]["put"]["parameters"]] == ["a"]


def test_openapi_tells_what_streams() -> None:
    document = openapi("n.ipynb", PATHS, "/base/", {("/name", "GET")})
    operations = document["paths"]["/name"]
    assert document["servers"] == [{"url": "/base"}]
    assert operations["get"]["responses"]["200"]["description"] == "The output of the cell, sent while it runs"
    assert operations["post"]["responses"]["200"]["description"] == "Success"
    assert list(operations["post"]["responses"]["200"]["content"]) == ["text/plain", "text/event-stream"]
    assert "content" not in document["paths"]["/a/{first}/b/{last}"]["head"]["responses"]["200"]


segments = st.text(st.sampled_from("ab:{}%/ é?#"))
verbs = st.lists(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]))


@given(st.lists(st.tuples(segments.map("/".__add__), verbs)))
def test_every_parameter_of_a_template_is_declared_once(paths: list[tuple[str, list[str]]]) -> None:
    for document in (swagger("n", paths), openapi("n", paths)):
        for template, operations in document["paths"].items():
            for operation in operations.values():
                names = [parameter["name"] for parameter in operation.get("parameters", [])]
                assert len(set(names)) == len(names)
                assert [f"{{{name}}}" for name in names] == [s for s in template.split("/") if s.startswith("{")]
                assert template.count("{") == template.count("}") == len(names)
