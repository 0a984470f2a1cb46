"""Notebooks as HTTP APIs on kernels with odd habits: answers come, whatever the kernel leaves out."""

from __future__ import annotations

import httpx
import pytest

from ..support.apis import Serve

CELLS = ["# GET /hello\nstream('hello')"]


@pytest.mark.parametrize("mode", ["no_parents", "bare_parents", "bare_headers"])
def test_a_kernel_with_odd_habits_answers(serve: Serve, mode: str) -> None:
    gateway = serve(*CELLS, kernel=f"tiny_{mode}")
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as http:
        answer = http.get("/hello")
        assert (answer.status_code, answer.text) == (200, "hello")


# What says "no reply" gets none.
NO_REPLY = """
reply = kernel.reply
def reply_or_not(channel, request, content):
    if "no " + "reply" not in str(request["content"].get("code")):
        reply(channel, request, content)
kernel.reply = reply_or_not
"""


def test_a_cell_that_ends_without_a_reply_is_answered_by_its_output(serve: Serve) -> None:
    """As the original does, which waits for idle alone."""
    cells = ["# GET /said\nstream('said') # no reply", "# GET /failed\n1 / 0 # no reply", "# GET /silent\n# no reply"]
    gateway = serve(NO_REPLY, *cells, *CELLS)
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as http:
        assert (http.get("/said").status_code, http.get("/said").text) == (200, "said")
        assert (http.get("/failed").status_code, http.get("/failed").text[:23]) == (500, "Error ZeroDivisionError")
        assert (http.get("/silent").status_code, http.get("/silent").text) == (200, "")
        assert http.get("/hello").text == "hello"
        streamed = http.get("/said", headers={"Accept": "text/event-stream"})
        assert (streamed.status_code, streamed.text) == (200, "data: said\n\n")


def test_a_request_that_may_not_have_been_set_runs_no_cell(serve: Serve) -> None:
    """It would run with that of another client."""
    gateway = serve(*CELLS, kernel="tiny_no_replies", request_timeout_s=30)
    answer = httpx.get(f"{gateway.url}/hello", timeout=60, trust_env=False)
    assert answer.status_code == 504
    assert "is idle, but did not answer" in answer.json()["message"]
