"""Notebooks as HTTP APIs, by what the examples of Jupyter Kernel Gateway show: requests, parameters, responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.events import parse_events
from ..support.gateways import Begin, gateways
from ..support.notebooks import code_cell, markdown_cell, write_notebook

TEXT = "text/plain; charset=utf-8"

# The API's introduction.
INTRODUCTION = [
    "import base64, json, os, sys, time\nfrom IPython.display import display\nnotes = {}\ngreeting = 'Hello'",
    "# GET /hello\nprint(f'{greeting}, world')",
    *(f"# {verb} /verb\nprint('{verb} was here')" for verb in ("GET", "PUT", "POST", "DELETE", "PATCH")),
    "# GET /note/:name\nprint(notes[json.loads(REQUEST)['path']['name']])",
    "# PUT /note/:name\nreq = json.loads(REQUEST)\nnotes[req['path']['name']] = req['body']",
    "if 'KERNEL_GATEWAY' not in os.environ:\n    raise RuntimeError('only while it is written')",
    "# HEAD /head\npass",
    "# ResponseInfo HEAD /head\nprint(json.dumps({'headers': {'X-Own': 'yes'}}))",
    "# POST /only-post\nprint('posted')",
]
# What a cell is told of its request.
PARAMETERS = [
    *(f"# {verb} /echo\nprint(REQUEST)" for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    "# GET /echo/:first/:last\nprint(REQUEST)",
    *(f"# GET {path}\nprint('{path}')" for path in ("/in/:a/:b", "/in/:a/order", "/in/an/:b", "/in/an/order")),
]
# What a cell tells of its response.
RESPONSES = [
    "# GET /json\nprint(json.dumps({'answer': 42}))",
    "# ResponseInfo GET /json\nprint(json.dumps({'headers': {'Content-Type': 'application/json'}}))",
    "# POST /created\nnumber = 7\nprint('created')",
    "# ResponseInfo POST /created\nprint(json.dumps({'status': 201, 'headers': {'Location': f'/created/{number}'}}))",
    "# GET /cached\nprint('a page')",
    "# ResponseInfo GET /cached\n"
    "known = json.loads(REQUEST)['headers'].get('If-None-Match') == '\"1\"'\n"
    "print(json.dumps({'status': 304 if known else 200, 'headers': {'ETag': '\"1\"'}}))",
    "# GET /cookies\nprint('two')",
    "# ResponseInfo GET /cookies\nprint(json.dumps({'headers': {'Set-Cookie': ['a=1', 'b=2'], 'X-Count': 2}}))",
    "# DELETE /nothing\nprint('not sent')",
    "# ResponseInfo DELETE /nothing\nprint(json.dumps({'status': 204}))",
    "# GET /bad-info\nprint('fine')",
    "# ResponseInfo GET /bad-info\nprint('status: 200')",
    "# GET /failing-info\nprint('fine')",
    "# ResponseInfo GET /failing-info\n1 / 0",
    "# GET /failing\nprint('lost')\nnotes['info'] = 'did not run'\nraise ValueError('no such row')",
    "# ResponseInfo GET /failing\nnotes['info'] = 'ran'\nprint(json.dumps({'status': 200}))",
    "# GET /result\nprint('shown', file=sys.stderr)\n6 * 7",
    "# GET /both\nprint('printed')\n6 * 7",
    "# GET /silent\nx = 1",
    "# GET /picture\n"
    "picture = base64.b64encode(b'\\x89PNG').decode()\n"
    "display({'image/png': picture, 'text/html': '<b>picture</b>', 'text/plain': 'picture'}, raw=True)",
    "# GET /asks\ninput('name? ')",
]
# Paths with more than one cell.
CELLS = [
    "# GET /parts\nwhole = ['one']",
    "# ResponseInfo GET /parts\nstatus = 202",
    "notes['between'] = 'a seed'",
    "# GET /parts\nwhole.append('two')",
    "# POST /parts\nprint('not of GET')",
    "# ResponseInfo GET /parts\nprint(json.dumps({'status': status}))",
    "# GET /parts\nprint(whole)",
    "# GET /broken\nprint('first')\n1 / 0",
    "# GET /broken\nnotes['broken'] = 'went on'",
]
STREAMED = (
    "# GET /stream\nargs = json.loads(REQUEST)['args']\n"
    "print('first', flush=True)\nwhile not os.path.exists(args['until'][0]): time.sleep(0.01)\n"
    "print('last')\nif 'fail' in args: raise ValueError('too late')"
)


def notebook(folder: Path, *sources: str, streamed: str | None = None) -> str:
    """The option that serves a notebook of a title and these code cells, which have the numbers from 1."""
    cells: list[Any] = [markdown_cell("# GET /title"), *sources]
    if streamed is not None:
        cells.append(code_cell(streamed, stream=True))
    return write_notebook(folder / "examples.ipynb", *cells, kernel="python3")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a gateway with one kernel that serves all of the above."""
    folder = tmp_path_factory.mktemp("examples")
    with gateways(folder) as begin:
        seed = notebook(folder, *INTRODUCTION, *PARAMETERS, *RESPONSES, *CELLS, streamed=STREAMED)
        gateway = begin("--api=notebook-http", seed)
        with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client:
            yield client


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with gateways(tmp_path) as begin:
        yield begin


# --- the introduction ----------------------------------------------------------------------------


def test_a_cell_answers_with_what_it_prints(http: httpx.Client) -> None:
    answer = http.get("/hello")
    assert (answer.status_code, answer.headers["Content-Type"], answer.text) == (200, TEXT, "Hello, world\n")


@pytest.mark.parametrize("verb", ["GET", "PUT", "POST", "DELETE", "PATCH"])
def test_each_verb_has_its_cell(http: httpx.Client, verb: str) -> None:
    assert http.request(verb, "/verb").text == f"{verb} was here\n"


def test_what_a_request_leaves_is_there_for_the_next_one_of_its_kernel(http: httpx.Client) -> None:
    assert http.put("/note/first", content="remember me").status_code == 200
    assert http.get("/note/first").text == "remember me\n"


def test_a_verb_without_a_cell_is_405_and_told_which_there_are(http: httpx.Client) -> None:
    answer = http.get("/only-post")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")


def test_markdown_is_no_endpoint(http: httpx.Client) -> None:
    assert http.get("/title").status_code == 404


def test_a_path_without_a_cell_is_404(http: httpx.Client) -> None:
    answer = http.get("/hello/")
    assert (answer.status_code, answer.json()["reason"]) == (404, "Not Found")


def test_kernels_cannot_be_had(http: httpx.Client) -> None:
    assert http.get("/api/kernels").status_code == 404
    assert http.post("/api/kernels").status_code == 404


def test_head_is_get_without_the_body(http: httpx.Client) -> None:
    answer = http.head("/json")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(http.get("/json").content))


def test_head_may_have_a_cell_of_its_own(http: httpx.Client) -> None:
    answer = http.head("/head")
    assert (answer.status_code, answer.headers["X-Own"]) == (200, "yes")
    assert http.get("/head").status_code == 405


def test_options_need_no_cell(http: httpx.Client) -> None:
    assert http.options("/hello").status_code == 200


# --- parameters ----------------------------------------------------------------------------------


def test_segments_of_the_path_are_parameters(http: httpx.Client) -> None:
    assert http.get("/echo/Grace/Hopper").json()["path"] == {"first": "Grace", "last": "Hopper"}


def test_parameters_of_the_path_are_decoded_and_keep_their_slashes(http: httpx.Client) -> None:
    assert http.get("/echo/J%C3%BCrgen/a%2Fb%20c").json()["path"] == {"first": "Jürgen", "last": "a/b c"}


def test_a_parameter_is_never_empty(http: httpx.Client) -> None:
    assert http.get("/echo//Hopper").status_code == 404


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        ("/in/an/order", "/in/an/order"),
        ("/in/an/1", "/in/an/:b"),
        ("/in/no/order", "/in/:a/:b"),  # of equals the first in the notebook
        ("/in/no/1", "/in/:a/:b"),
    ],
)
def test_the_path_whose_first_parameter_comes_latest_wins(http: httpx.Client, path: str, winner: str) -> None:
    assert http.get(path).text == f"{winner}\n"


def test_arguments_of_the_query_are_lists(http: httpx.Client) -> None:
    assert http.get("/echo?a=1&b=x%20y&a=2&empty=").json()["args"] == {"a": ["1", "2"], "b": ["x y"], "empty": [""]}


def test_a_request_without_anything_has_empty_parameters(http: httpx.Client) -> None:
    request = http.get("/echo").json()
    assert (request["body"], request["args"], request["path"]) == ("", {}, {})
    assert "body_encoding" not in request


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_a_json_body_is_parsed(http: httpx.Client, content_type: str) -> None:
    sent = {"deep": [1, None, {"é": "\u2028"}]}
    answer = http.post("/echo", content=json.dumps(sent), headers={"Content-Type": content_type})
    assert answer.json()["body"] == sent


def test_a_body_that_is_not_the_json_it_claims_comes_as_it_is(http: httpx.Client) -> None:
    answer = http.post("/echo", content="{'a': 1}", headers={"Content-Type": "application/json"})
    assert answer.json()["body"] == "{'a': 1}"


def test_fields_of_a_form_are_lists(http: httpx.Client) -> None:
    answer = http.post("/echo", data={"name": "Ada", "tag": ["x", "y"]})
    assert answer.json()["body"] == {"name": ["Ada"], "tag": ["x", "y"]}


def test_files_of_a_form_come_in_base64(http: httpx.Client) -> None:
    answer = http.post("/echo", data={"name": "Ada"}, files={"file": ("a.bin", b"\x00\xff", "application/x-own")})
    file = {"filename": "a.bin", "content_type": "application/x-own", "data": base64.b64encode(b"\x00\xff").decode()}
    assert answer.json()["body"] == {"name": ["Ada"], "file": [file]}


def test_a_form_that_is_malformed_is_400(http: httpx.Client) -> None:
    answer = http.post("/echo", content=b"a=b", headers={"Content-Type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "Bad Request")


@pytest.mark.parametrize("content_type", ["text/plain", "text/csv; charset=utf-8", "application/x-own"])
def test_a_body_of_text_is_a_string(http: httpx.Client, content_type: str) -> None:
    answer = http.put("/echo", content="é,1\r\n".encode(), headers={"Content-Type": content_type})
    assert answer.json()["body"] == "é,1\r\n"


def test_a_body_of_bytes_is_in_base64_and_says_so(http: httpx.Client) -> None:
    request = http.patch("/echo", content=b"\xff\xfe\x00").json()
    assert (request["body"], request["body_encoding"]) == (base64.b64encode(b"\xff\xfe\x00").decode(), "base64")


def test_headers_are_there_under_their_usual_names(http: httpx.Client) -> None:
    headers = http.get("/echo", headers=[("x-LONG-name", "1"), ("x-twice", "a"), ("X-Twice", "b")]).json()["headers"]
    assert (headers["X-Long-Name"], headers["X-Twice"]) == ("1", ["a", "b"])


@pytest.mark.parametrize(
    "body", ['"\nraise SystemExit #', "'''\"\"\"\\", "\\N{DEGREE SIGN}\\x41{1}%s", "\x00\x1b\x7f\u2028"]
)
def test_no_text_of_a_client_is_run(http: httpx.Client, body: str) -> None:
    assert http.post("/echo", content=body.encode(), headers={"Content-Type": "text/plain"}).json()["body"] == body


# --- responses -----------------------------------------------------------------------------------


def test_the_type_can_be_set(http: httpx.Client) -> None:
    answer = http.get("/json")
    assert (answer.headers["Content-Type"], answer.json()) == ("application/json", {"answer": 42})


def test_status_and_headers_may_come_from_what_the_cell_left(http: httpx.Client) -> None:
    answer = http.post("/created")
    assert (answer.status_code, answer.headers["Location"], answer.text) == (201, "/created/7", "created\n")


def test_a_response_info_knows_the_request(http: httpx.Client) -> None:
    first = http.get("/cached")
    assert (first.status_code, first.headers["ETag"], first.text) == (200, '"1"', "a page\n")
    again = http.get("/cached", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"], again.content) == (304, '"1"', b"")


def test_a_header_may_be_sent_more_than_once(http: httpx.Client) -> None:
    headers = http.get("/cookies").headers
    assert headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert headers["X-Count"] == "2"


def test_204_has_no_body_whatever_is_printed(http: httpx.Client) -> None:
    answer = http.delete("/nothing")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Length" not in answer.headers


def test_a_response_info_that_is_not_json_is_500_and_says_so(http: httpx.Client) -> None:
    answer = http.get("/bad-info")
    assert (answer.status_code, answer.text) == (500, "Invalid ResponseInfo: it is not JSON\n")


def test_a_response_info_that_fails_is_500_with_its_error(http: httpx.Client) -> None:
    answer = http.get("/failing-info")
    assert (answer.status_code, answer.text) == (500, "Error ZeroDivisionError: division by zero \n")


def test_an_error_is_500_with_its_name_and_nothing_that_was_printed(http: httpx.Client) -> None:
    answer = http.get("/failing")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, TEXT)
    assert answer.text == "Error ValueError: no such row \n"


def test_an_error_is_not_followed_by_the_response_info(http: httpx.Client) -> None:
    http.get("/failing")
    assert http.get("/note/info").text == "did not run\n"


def test_a_result_is_json_of_its_types_and_stderr_is_dropped(http: httpx.Client) -> None:
    answer = http.get("/result")
    assert (answer.headers["Content-Type"], answer.json()) == (TEXT, {"text/plain": "42"})


def test_what_is_printed_comes_before_the_result(http: httpx.Client) -> None:
    assert http.get("/both").text == "printed\n"


@pytest.mark.parametrize("path", ["/silent", "/picture"])
def test_a_cell_that_neither_prints_nor_has_a_result_answers_nothing(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        ("image/png", "image/png", b"\x89PNG"),
        ("image/*", "image/png", b"\x89PNG"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", b"<b>picture</b>"),
        ("image/webp", TEXT, b""),
    ],
)
def test_a_type_that_is_asked_for_comes_alone(http: httpx.Client, accept: str, content_type: str, body: bytes) -> None:
    answer = http.get("/picture", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, content_type, body)


def test_a_cell_cannot_ask_for_input(http: httpx.Client) -> None:
    answer = http.get("/asks")
    assert answer.status_code == 500
    assert answer.text.startswith("Error StdinNotImplementedError: ")


# --- more than one cell --------------------------------------------------------------------------


def test_cells_of_a_path_are_one_and_so_are_those_of_its_response_info(http: httpx.Client) -> None:
    answer = http.get("/parts")
    assert (answer.status_code, answer.text) == (202, "['one', 'two']\n")


def test_a_path_has_cells_for_each_verb_apart(http: httpx.Client) -> None:
    assert http.post("/parts").text == "not of GET\n"


def test_a_cell_between_those_of_a_path_is_run_before_the_first_request(http: httpx.Client) -> None:
    assert http.get("/note/between").text == "a seed\n"


def test_an_error_ends_all_cells_of_a_path(http: httpx.Client) -> None:
    assert http.get("/broken").text == "Error ZeroDivisionError: division by zero \n"
    assert http.get("/note/broken").text == "Error KeyError: 'broken' \n"


# --- streams -------------------------------------------------------------------------------------


def test_a_streamed_cell_is_heard_while_it_runs(http: httpx.Client, tmp_path: Path) -> None:
    until = tmp_path / "until"
    with http.stream("GET", "/stream", params={"until": str(until)}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "first"
        until.touch()
        assert list(lines) == ["last"]
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, TEXT)


def test_an_error_is_the_last_line_of_a_stream(http: httpx.Client, tmp_path: Path) -> None:
    answer = http.get("/stream", params={"until": str(tmp_path), "fail": "1"})
    assert (answer.status_code, answer.text) == (200, "first\nlast\nError ValueError: too late \n")


def test_who_accepts_events_gets_any_cell_as_events(http: httpx.Client) -> None:
    answer = http.get("/hello", headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"] == "text/event-stream"
    kinds, texts = zip(*parse_events(answer.content), strict=True)  # the kernel may cut what it prints
    assert ({*kinds}, "".join(texts)) == ({"message"}, "Hello, world\n")


def test_an_error_is_the_last_event(http: httpx.Client) -> None:
    answer = http.get("/failing", headers={"Accept": "text/event-stream"})
    *_, event, _ = answer.text.split("\n\n")
    assert event == 'event: error\ndata: {"ename": "ValueError", "evalue": "no such row"}'


# --- the start -----------------------------------------------------------------------------------


def test_the_documents_list_all_paths(http: httpx.Client) -> None:
    spec = http.get("/_api/spec/swagger.json").json()
    assert spec["info"]["title"] == "examples"
    assert sorted(spec["paths"]["/echo"]) == ["delete", "get", "patch", "post", "put"]
    assert list(http.get("/openapi.json").json()["paths"]) == list(spec["paths"])


def test_the_notebook_cannot_be_downloaded_unless_it_is_allowed(http: httpx.Client) -> None:
    assert http.get("/_api/source").status_code == 404


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        (None, "there is no notebook; set seed_uri"),
        (["print('no endpoint')"], "no cell has an annotation such as '# GET /hello'"),
        (["# GET /:a/:a\npass"], "cell 1: the parameter ':a' is in '/:a/:a' more than once"),
        (["# GET /hello\npass", "1 / 0"], "of the seed notebook examples.ipynb failed: ZeroDivisionError"),
    ],
    ids=["no notebook", "no endpoint", "an endpoint that cannot be", "a failing cell"],
)
def test_a_notebook_that_cannot_be_served_ends_the_command_with_one_line(
    begin: Begin, tmp_path: Path, sources: list[str] | None, complaint: str
) -> None:
    options = [] if sources is None else [notebook(tmp_path, *sources)]
    gateway = begin("--api=notebook-http", *options, ready=False)
    assert gateway.process.wait(60) == 1
    [line] = [line for line in gateway.log.splitlines() if line.startswith("fps-kernels: ")]
    assert complaint in line


def test_a_line_that_only_looks_like_an_annotation_is_named_at_the_start(begin: Begin, tmp_path: Path) -> None:
    gateway = begin("--api=notebook-http", notebook(tmp_path, "# GET /hello\nprint(1)", "# get /bye\nx = 1"))
    gateway.wait_log("examples.ipynb: cell 2: '# get /bye' is not an annotation")
