"""The response that a cell's outputs make."""

from __future__ import annotations

import base64
import json
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.notebook_http.response.cell_outputs import CellOutputs
from fps_kernels.notebook_http.response.reply import Reply, head_reply, respond

from ..support.cases import for_each

PNG = b"\x89PNG\r\n\x1a\n\x00"
PNG_TEXT = base64.encodebytes(PNG).decode()
TEXT = "text/plain; charset=utf-8"
AXIOS = "application/json, text/plain, */*"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


def outputs_of(
    stdout: str = "", result: dict[str, Any] | None = None, displayed: dict[str, Any] | None = None
) -> CellOutputs:
    outputs = CellOutputs()
    if stdout:
        outputs.stream({"name": "stdout", "text": stdout})
    if displayed:
        outputs.display_data({"data": displayed, "metadata": {}})
    if result:
        outputs.execute_result({"data": result, "metadata": {}, "execution_count": 1})
    return outputs


def info(value: Any) -> CellOutputs:
    return outputs_of(value if isinstance(value, str) else json.dumps(value) + "\n")


def sent(reply: Reply) -> tuple[int, str | None, bytes]:
    return reply.status, reply.header("Content-Type"), reply.body


# --- without Accept ------------------------------------------------------------------------------


def test_nothing_is_an_empty_text() -> None:
    assert respond(CellOutputs()) == Reply(200, [("Content-Type", TEXT), ("Content-Length", "0")], b"")


def test_stdout_is_joined_and_stderr_dropped() -> None:
    outputs = CellOutputs()
    for content in ({"name": "stdout", "text": "a\n"}, {"name": "stderr", "text": "x"}, {"text": "é"}):
        outputs.add("stream", content)
    outputs.execute_result({"data": {"text/plain": "2"}})
    assert sent(respond(outputs)) == (200, TEXT, "a\né".encode())


@for_each("media_type", ["text/html", "text/csv", "text/x-own", "TEXT/HTML", "application/javascript"])
def test_the_charset_of_text_is_told(media_type: str) -> None:
    """Browsers guess another one where none is."""
    reply = respond(outputs_of(displayed={media_type: "é"}), accept=media_type)
    assert sent(reply) == (200, f"{media_type}; charset=utf-8", "é".encode())


@pytest.mark.parametrize("media_type", ["application/json", "image/svg+xml", "application/vnd.own"])
def test_types_that_are_no_text_have_no_charset(media_type: str) -> None:
    assert respond(outputs_of(displayed={media_type: "é"}), accept=media_type).header("Content-Type") == media_type


@pytest.mark.parametrize("content_type", ["text/html", "text/plain;charset=US-ASCII", "x/y"])
def test_a_type_of_the_author_is_sent_as_written(content_type: str) -> None:
    reply = respond(outputs_of("x"), info({"headers": {"content-type": content_type}}))
    assert sent(reply) == (200, content_type, b"x")


def test_the_last_result_is_json_of_its_bundle() -> None:
    outputs = outputs_of(result={"text/plain": "1"}, displayed={"text/html": "x"})
    outputs.execute_result({"data": {"text/plain": "'é'", "a/b": {"c": 1}}})
    assert sent(respond(outputs)) == (200, TEXT, b'{"text/plain": "\'\\u00e9\'", "a/b": {"c": 1}}')


def test_what_is_displayed_alone_is_no_body() -> None:
    assert respond(outputs_of(displayed={"text/plain": "x"})).body == b""


def test_an_error_comes_before_everything() -> None:
    outputs = outputs_of("a", {"text/plain": "2"})
    outputs.add("error", {"ename": "ValueError", "evalue": "é", "traceback": []})
    reply = respond(outputs, info({"status": 201}), "text/plain")
    assert sent(reply) == (500, TEXT, "Error ValueError: é \n".encode())


def test_an_error_that_only_the_reply_tells_of() -> None:
    outputs = outputs_of("a")
    outputs.reply({"status": "error", "ename": "Stopped", "evalue": "x"})
    assert sent(respond(outputs)) == (500, TEXT, b"Error Stopped: x \n")


def test_an_aborted_cell_is_an_error() -> None:
    outputs = CellOutputs()
    outputs.reply({"status": "aborted"})
    assert respond(outputs).status == 500


def test_a_reply_that_is_ok_changes_nothing() -> None:
    outputs = outputs_of("a")
    outputs.reply({"status": "ok", "execution_count": 1, "payload": []})
    assert respond(outputs).body == b"a"


def test_clearing_at_once() -> None:
    outputs = outputs_of("a", {"text/plain": "2"})
    outputs.add("clear_output", {"wait": False})
    assert respond(outputs).body == b""


def test_clearing_when_the_next_output_comes() -> None:
    outputs = outputs_of("a")
    outputs.add("clear_output", {"wait": True})
    assert respond(outputs).body == b"a"
    outputs.stream({"name": "stdout", "text": "b"})
    outputs.stream({"name": "stdout", "text": "c"})
    assert respond(outputs).body == b"bc"


def test_outputs_are_bounded() -> None:
    outputs = CellOutputs(max_chars=10)
    outputs.stream({"text": "a" * 10})
    assert not outputs.too_large
    outputs.display_data({"data": {"text/plain": "b"}})
    assert outputs.too_large
    assert sent(respond(outputs)) == (500, TEXT, b"The cell produced more than 10 characters of output\n")


def test_what_is_replaced_does_not_count_any_more() -> None:
    outputs = CellOutputs(max_chars=100)
    for _ in range(100):
        outputs.display_data({"data": {"text/plain": "a" * 30}})
        outputs.execute_result({"data": {"text/plain": {"b": "c" * 20}}})
        outputs.clear_output({"wait": True})
    assert not outputs.too_large


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stream", "execute_result", "display_data", "error", "clear_output", "status", "reply"]),
            st.dictionaries(
                st.sampled_from(["name", "text", "data", "ename", "evalue", "wait", "status"]),
                st.sampled_from(["stdout", "error", "aborted", "\ud800", None, 1, True, [], {}, {"image/png": None}])
                | st.dictionaries(st.sampled_from(["image/png", "text/html", "a\r\nb/c", "image/x\r\n"]), st.text()),
            ),
        )
    ),
    st.sampled_from([None, "*/*", AXIOS, BROWSER, "image/*", "text/html;q=0", "image/png;q=x"]) | st.text(),
)
def test_whatever_a_kernel_sends_there_is_a_response(
    messages: list[tuple[str, dict[str, Any]]], accept: str | None
) -> None:
    outputs = CellOutputs(max_chars=100)
    for msg_type, content in messages:
        if msg_type == "reply":
            outputs.reply(content)
        else:
            outputs.add(msg_type, content)
    reply = respond(outputs, accept=accept)
    assert reply.status in (200, 500)
    check_http(reply)


# --- with Accept ---------------------------------------------------------------------------------


@for_each("accept", ["image/png", "image/*", "IMAGE/PNG", "image/png, */*", "text/plain, image/png, */*"])
def test_an_image_that_is_asked_for(accept: str) -> None:
    outputs = outputs_of("text", {"text/plain": "x"}, {"image/png": PNG_TEXT, "text/plain": "<Figure>"})
    assert sent(respond(outputs, accept=accept)) == (200, "image/png", PNG)


@for_each("accept", [None, "", "*/*", AXIOS, "*/*;q=0.1", "text/html", "image/png;q=0", "image/jpeg"])
def test_who_does_not_ask_for_an_image_gets_none(accept: str | None) -> None:
    outputs = outputs_of("", {"text/plain": "x", "application/json": {"a": 1}, "image/png": PNG_TEXT})
    body = json.dumps({"text/plain": "x", "application/json": {"a": 1}, "image/png": PNG_TEXT}).encode()
    assert sent(respond(outputs, accept=accept)) == (200, TEXT, body)


@for_each(
    ("accept", "media_type"),
    [
        ("image/png, image/svg+xml", "image/png"),
        ("image/svg+xml, image/png", "image/svg+xml"),
        ("image/png;q=0.5, image/svg+xml;q=0.6", "image/svg+xml"),
        ("image/*, image/png;q=0", "image/svg+xml"),
        ("image/*;q=0.5, image/svg+xml;q=0.1, text/html;q=0.2", "image/png"),
        ("image/png;q=0.5, text/plain", "text/plain"),
        ("text/plain;q=0.1, application/json", "application/json"),
        ("application/json, text/html;q=0.9, */*;q=0.8", "text/html"),
        (BROWSER, "text/html"),
        ('text/html;level="a,b"', "text/html"),
    ],
)
def test_the_best_of_several_types(accept: str, media_type: str) -> None:
    bundle = {
        "text/plain": "x",
        "image/png": PNG_TEXT,
        "image/svg+xml": "<svg/>",
        "text/html": "<b>",
        "application/json": {},
    }
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    assert respond(outputs_of(result=bundle), accept=accept).header("Content-Type") == media_type + charset


def test_a_type_that_is_liked_less_than_anything() -> None:
    outputs = outputs_of("text", {"text/html": "<b>"})
    assert respond(outputs, accept="text/html;q=0.1, */*").body == b"text"


def test_stdout_is_the_plain_text_that_is_asked_for() -> None:
    outputs = outputs_of("text", {"text/plain": "2", "text/html": "<b>"})
    assert respond(outputs, accept="text/plain").body == b"text"
    assert respond(outputs, accept="text/plain, text/html").body == b"text"
    assert respond(outputs, accept="text/plain;q=0.9, text/html").body == b"<b>"


def test_types_in_their_form() -> None:
    bundle = {
        "image/svg+xml": "<svg>é</svg>",
        "application/json": {"a": "é"},
        "application/pdf": "JVBERg==",
        "image/x": "é",
    }
    outputs = outputs_of(displayed=bundle)
    assert respond(outputs, accept="image/svg+xml").body == "<svg>é</svg>".encode()
    assert respond(outputs, accept="application/json").body == b'{"a": "\\u00e9"}'
    assert respond(outputs, accept="application/pdf").body == b"%PDF"
    assert respond(outputs, accept="image/x").body == "é".encode()


def test_the_result_comes_before_what_is_displayed_and_else_the_last() -> None:
    outputs = outputs_of(result={"text/html": "result"}, displayed={"text/html": "1", "image/svg+xml": "1"})
    outputs.display_data({"data": {"text/html": "2", "image/svg+xml": "2"}})
    assert respond(outputs, accept="text/html").body == b"result"
    assert respond(outputs, accept="image/*").body == b"2"


def test_a_cache_learns_that_accept_counts() -> None:
    assert respond(outputs_of(result={"text/html": "x"})).header("Vary") == "Accept"
    assert respond(outputs_of("x")).header("Vary") is None


# --- ResponseInfo --------------------------------------------------------------------------------


def test_status_and_headers() -> None:
    reply = respond(outputs_of("{}"), info({"headers": {"Content-Type": "application/json", "X-N": 3}, "status": 201}))
    assert reply == Reply(201, [("Content-Type", "application/json"), ("X-N", "3"), ("Content-Length", "2")], b"{}")


def test_a_list_is_several_headers() -> None:
    reply = respond(CellOutputs(), info({"headers": {"Set-Cookie": ["a=1", "b=2"], "X": []}}))
    assert [value for name, value in reply.headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert reply.header("X") is None


def test_names_that_differ_in_case_only_are_one_header() -> None:
    reply = respond(CellOutputs(), info({"headers": {"content-type": "a/b", "Content-Type": "c/d"}}))
    assert [value for name, value in reply.headers if name.lower() == "content-type"] == ["c/d"]


def test_a_type_that_is_asked_for_is_told_instead_of_that_of_stdout() -> None:
    outputs = outputs_of("{}", {"text/html": "<b>"})
    json_info = info({"headers": {"Content-Type": "application/json"}})
    assert respond(outputs, json_info).header("Content-Type") == "application/json"
    assert respond(outputs, json_info, "text/html").header("Content-Type") == "text/html; charset=utf-8"
    html_info = info({"headers": {"Content-Type": "text/html; charset=utf-8"}})
    assert respond(outputs, html_info, "text/html").header("Content-Type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(status: int) -> None:
    reply = respond(outputs_of("x"), info({"status": status, "headers": {"ETag": '"a"'}}))
    assert reply == Reply(status, [("ETag", '"a"')], b"")
    check_http(reply)


def test_reset_content_says_that_there_is_none() -> None:
    assert respond(outputs_of("x"), info({"status": 205})).header("Content-Length") == "0"


@for_each(
    ("printed", "what"),
    [
        ("", "nothing was printed"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ({"status": "201"}, "status"),
        ({"status": True}, "status"),
        ({"status": 201.0}, "status"),
        ({"status": None}, "status"),
        ({"status": 101}, "status"),
        ({"status": 1000}, "status"),
        ({"headers": []}, "headers are not an object"),
        ({"headers": {"X": None}}, "X is neither"),
        ({"headers": {"X": {}}}, "X is neither"),
        ({"headers": {"X": [["a"]]}}, "X is neither"),
        ({"headers": {"X": "a\r\nSet-Cookie: b"}}, "X has a line break"),
        ({"headers": {"X": ["a", "b\n"]}}, "X has a line break"),
        ({"headers": {"X": "\0"}}, "X has a line break"),
        ({"headers": {"X": "€"}}, "X has a line break"),
        ({"headers": {"X: a\r\nY": "b"}}, "is not the name of a header"),
        ({"headers": {"X\n": "b"}}, "is not the name of a header"),
        ({"headers": {"": "b"}}, "is not the name of a header"),
        ({"headers": {"é": "b"}}, "is not the name of a header"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "the server's own"),
        ({"headers": {"connection": "close"}}, "the server's own"),
        ({"headers": {"Content-Length": "1000"}}, "Content-Length"),
        ({"headers": {"Content-Type": ["a/b", "c/d"]}}, "more than one Content-Type"),
    ],
)
def test_an_info_that_cannot_be_sent(printed: Any, what: str) -> None:
    reply = respond(outputs_of("x"), info(printed))
    assert (reply.status, reply.header("Content-Type")) == (500, TEXT)
    assert reply.body.startswith(b"Invalid ResponseInfo: ")
    assert what in reply.body.decode()
    assert reply.body.endswith(b"\n")


def test_a_length_that_is_true_is_sent_once() -> None:
    reply = respond(outputs_of("x"), info({"headers": {"content-length": 1}}))
    assert [name.lower() for name, _ in reply.headers].count("content-length") == 1
    assert reply.status == 200


def test_an_error_in_the_info_is_an_error() -> None:
    failed = CellOutputs()
    failed.error({"ename": "KeyError", "evalue": "'a'"})
    assert sent(respond(outputs_of("x"), failed)) == (500, TEXT, b"Error KeyError: 'a' \n")


# --- HTTP ----------------------------------------------------------------------------------------


def test_head_has_the_length_of_get() -> None:
    reply = head_reply(respond(outputs_of("abc")), of_get=True)
    assert (reply.header("Content-Length"), reply.body) == ("3", b"")
    check_http(reply, method="HEAD")


def test_a_cell_for_head_tells_no_length() -> None:
    reply = head_reply(respond(outputs_of("abc")), of_get=False)
    assert (reply.header("Content-Length"), reply.body) == (None, b"")
    check_http(reply, method="HEAD")


def check_http(reply: Reply, method: str = "GET") -> None:
    """A server must be able to send it, and a client to read it as it was meant."""
    server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    request = client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    end = client.send(h11.EndOfMessage())
    assert request is not None
    assert end is not None
    server.receive_data(request + end)
    server.next_event()
    server.next_event()
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    data = server.send(h11.Response(status_code=reply.status, headers=headers)) or b""
    data += server.send(h11.Data(reply.body)) or b"" if reply.body else b""
    data += server.send(h11.EndOfMessage()) or b""
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == reply.status
    names = [name.lower() for name, _ in reply.headers]
    assert [name.decode() for name, _ in response.headers if name in map(str.encode, names)] == names
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert body == reply.body


@given(
    st.integers(200, 599) | st.sampled_from([200, 204, 205, 304]),
    st.dictionaries(
        st.text(st.sampled_from("aBc-:\r\n é\0")) | st.sampled_from(["Content-Length", "TE", "Content-Type", "Date"]),
        st.text(st.sampled_from("a 1\r\n\t\0é€")) | st.lists(st.sampled_from(["1", "2", "\n"])) | st.integers(),
    ),
    st.text(),
)
def test_whatever_an_info_says_it_is_http(status: int, headers: dict[str, Any], text: str) -> None:
    check_http(respond(outputs_of(text), info({"status": status, "headers": headers})))
