"""Endpoints from the first lines of code cells."""

from __future__ import annotations

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.notebook_http.parsing.annotations import parse
from fps_kernels.notebook_http.parsing.endpoints import EndpointTable
from fps_kernels.notebook_http.parsing.notebook_error import NotebookError

from ..support.cases import for_each
from ..support.notebooks import code_cell


def parsed(*sources: str, language: str = "python") -> EndpointTable:
    return parse([code_cell(source) for source in sources], language)


def annotated(made: EndpointTable) -> list[tuple[str, str]]:
    return [(endpoint.verb, endpoint.path) for endpoint in made.endpoints]


@for_each("verb", ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"])
def test_a_verb_and_a_path(verb: str) -> None:
    made = parsed(f"# {verb} /hello/:name\nprint(1)")
    assert annotated(made) == [(verb, "/hello/:name")]
    assert made.warnings == ()


@pytest.mark.parametrize("source", ["#  GET \t /a  ", "# GET /a\r\nx", "#\tGET /a\n# GET /a"])
def test_whitespace_around_the_path_is_not_of_it(source: str) -> None:
    assert annotated(parsed(source)) == [("GET", "/a")]


@for_each(
    "source",
    ["#GET /a", " # GET /a", "\n# GET /a", "x\n# GET /a", "# get /a", "# OPTIONS /a", "# GET a", "// GET /a", "# GET"],
)
def test_a_cell_without_an_annotation_is_a_seed(source: str) -> None:
    assert parsed("# GET /b", source).seeds == (source,)


@for_each("source", ["#GET /a", " # GET /a", "\n# GET /a", "# get /a", "x\n# Get /a", "# OPTIONS /a"])
def test_what_was_meant_as_an_annotation_is_warned_of(source: str) -> None:
    (warning,) = parsed("# GET /b", source).warnings
    assert warning.startswith("cell 1: '#")
    assert "first line of a cell" in warning


def test_a_second_annotation_in_a_cell_is_warned_of() -> None:
    made = parsed("# GET /a\n# POST /a\nx")
    assert annotated(made) == [("GET", "/a")]
    assert made.warnings[0].startswith("cell 0: '# POST /a' is not an annotation")


@pytest.mark.parametrize("source", ["# GET /a\nf()\n# GET /a", "# GET the /a", "def f():\n    # GET /users of theirs"])
def test_no_warning_of_other_comments(source: str) -> None:
    assert parsed("# GET /a", source).warnings == ()


def test_cells_of_one_annotation_are_joined() -> None:
    made = parse(
        [
            {"cell_type": "markdown", "source": "# GET /not/code", "metadata": {}},
            code_cell("# GET /multi\nx = 1"),
            code_cell("import os"),
            code_cell("# POST /multi\ny"),
            code_cell("# GET /multi\nprint(x)", tags=["a"]),
            {"cell_type": "raw", "source": "# GET /raw", "metadata": {}},
        ],
        "python",
    )
    get, post = made.endpoints
    assert get.source == "# GET /multi\nx = 1\n# GET /multi\nprint(x)\n"
    assert get.cells == (1, 4)
    assert post.source == "# POST /multi\ny\n"
    assert made.seeds == ("import os",)
    assert made.document is None


def test_response_info() -> None:
    made = parsed(
        "# ResponseInfo GET /a\nprint(1)", "# GET /a", "#  ResponseInfo  GET  /a \nprint(2)", "# POST /a", "seed"
    )
    get, post = made.endpoints
    assert get.response_info == "# ResponseInfo GET /a\nprint(1)\n#  ResponseInfo  GET  /a \nprint(2)\n"
    assert get.cells == (1,)
    assert post.response_info is None
    assert made.seeds == ("seed",)
    assert made.warnings == ()


@pytest.mark.parametrize("annotation", ["POST /a", "HEAD /a", "GET /a/"])
def test_response_info_that_no_cell_answers_is_warned_of(annotation: str) -> None:
    (warning,) = parsed("x", "# GET /a", f"# ResponseInfo {annotation}").warnings
    assert warning == f"cell 2: ResponseInfo for {annotation}, which no cell answers"


def test_one_cell_that_streams_makes_its_endpoint_stream() -> None:
    made = parse(
        [
            code_cell("# GET /a"),
            code_cell("# GET /a", stream=True),
            code_cell("# GET /b", stream=False),
            code_cell("# GET /c"),
        ]
    )
    assert [endpoint.stream for endpoint in made.endpoints] == [True, False, False]


def test_a_stream_that_is_neither_true_nor_false_is_warned_of() -> None:
    made = parse([code_cell("# GET /a", stream="true")])
    assert not made.endpoints[0].stream
    assert made.warnings == ("cell 0: its metadata has stream='true', which is not a boolean",)


def test_a_source_may_be_lines_and_metadata_be_missing() -> None:
    made = parse([{"cell_type": "code", "source": ["# GET /a\n", "x"]}, {"cell_type": "code", "input": "# GET /b"}])
    assert [endpoint.source for endpoint in made.endpoints] == ["# GET /a\nx\n", "# GET /b\n"]


@for_each(("language", "source"), [("scala", "// GET /a"), ("Scala", "// GET /a"), ("R", "# GET /a"), ("", "# GET /a")])
def test_the_comment_prefix_of_a_language(language: str, source: str) -> None:
    assert annotated(parsed(source, language=language)) == [("GET", "/a")]


@for_each(
    ("prefixes", "source"),
    [
        ({None: "#", "lisp": ";;"}, ";; GET /a"),
        ({None: "--"}, "-- GET /a"),
        ({"lisp": "(*"}, "(* GET /a"),
        ({"scala": "//"}, "# GET /a"),
    ],
)
def test_the_comment_prefix_can_be_configured(prefixes: dict[str | None, str], source: str) -> None:
    assert annotated(parse([code_cell(source)], "lisp", prefixes)) == [("GET", "/a")]


def test_a_notebook_without_an_annotation_is_refused() -> None:
    with pytest.raises(NotebookError) as refused:
        parsed("x", "# get /a")
    assert refused.value.message == (
        "no cell has an annotation such as '# GET /hello'; cell 1: '# get /a' is not an annotation: "
        "an annotation is the first line of a cell, such as '# GET /path', with its verb in upper case"
    )
    assert refused.value.cell is None


def test_response_info_alone_is_no_endpoint() -> None:
    with pytest.raises(NotebookError, match="no cell has an annotation"):
        parsed("# ResponseInfo GET /a")


@pytest.mark.parametrize("annotation", ["GET /:x/:x", "GET /:", "ResponseInfo GET /:a.json"])
def test_a_path_that_cannot_be_served_is_refused_with_its_cell(annotation: str) -> None:
    with pytest.raises(NotebookError, match=r"^cell 1: ") as refused:
        parsed("x", f"# {annotation}", "# GET /a")
    assert refused.value.cell == 1
    assert isinstance(refused.value, BadOption)
    assert isinstance(refused.value, ValueError)
    assert "\n" not in refused.value.message


def test_a_path_that_is_never_reached_is_warned_of() -> None:
    made = parsed("# GET /a/:x", "# POST /a/:y")
    assert made.warnings == ("cell 1: /a/:y is never reached: /a/:x of cell 0 gets its requests",)


def test_a_path_that_looks_like_a_pattern_is_warned_of() -> None:
    (warning,) = parsed("x", "# GET /files/(.*)", "# PUT /files/(.*)").warnings
    assert warning.startswith("cell 1: '(.*)' in '/files/(.*)' is literal")


def test_one_notebook_with_everything() -> None:
    made = parsed(
        "import json",
        "people = []",
        "# GET /people\nprint(json.dumps(people))",
        "REQUEST = '{}'",
        "# DELETE /people/:index\npeople.remove(json.loads(REQUEST)['path']['index'])",
        "# GET /people/:index",
    )
    assert made.paths() == ("/people", "/people/:index")
    assert made.seeds == ("import json", "people = []", "REQUEST = '{}'")
    match = made.find("/people/3")
    assert match is not None
    assert match.parameters == {"index": "3"}
    assert made.allowed(match.path) == ("GET", "HEAD", "DELETE", "OPTIONS")
