"""`allow_tracebacks=False`: no client sees what its code ran into, whichever way it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..support.apis import apis
from ..support.client import Client
from ..support.gateways import Begin, Gateway
from ..support.messages import of_type, text_of

HIDDEN = "--MappingKernelManager.allow_tracebacks=False"
INSTEAD = "--MappingKernelManager.traceback_replacement_message=Ask the operator."
FAILS = "secret = 's3cret'\nraise ValueError(secret)"

both = pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])


@pytest.fixture(scope="module")
def hiding(begin_shared: Begin) -> Gateway:
    return begin_shared(HIDDEN)


@both
@pytest.mark.parametrize("code", [FAILS, "1 / 0", "import nothing_of_this_name"])
async def test_an_error_is_hidden_on_iopub_and_in_the_reply(hiding: Gateway, code: str, v1: bool) -> None:
    async with Client(hiding.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, v1=v1) as socket:
            answers = await socket.run(code)
            [error] = of_type(answers, "error")
            [reply] = of_type(answers, "execute_reply")
            for content in (error["content"], reply["content"]):
                assert (content["ename"], content["evalue"]) == ("ExecutionError", "Execution error")
                assert content["traceback"] == [
                    "An exception occurred at runtime, which is not shown due to security reasons."
                ]
            assert reply["content"]["status"] == "error"
            assert isinstance(reply["content"]["execution_count"], int)
            assert "s3cret" not in json.dumps([one for one in answers if one["msg_type"] != "execute_input"])


@both
async def test_what_is_no_error_is_as_ever(hiding: Gateway, v1: bool) -> None:
    async with Client(hiding.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id, v1=v1) as socket:
            answers = await socket.run("stream('\"error\" Traceback'); stream('x', 'stderr')")
            assert text_of(answers) == '"error" Traceback'
            assert of_type(answers, "execute_reply")[0]["content"]["status"] == "ok"


async def test_the_error_of_an_expression_is_hidden(hiding: Gateway) -> None:
    """A real IPython kernel: the tiny one evaluates none."""
    async with Client(hiding.url) as client:
        kernel_id = await client.start("python3")
        async with await client.connect(kernel_id) as socket:
            expressions = {"bad": "1/0 + len('s3cret')", "good": "6 * 7"}
            content = {"code": "", "silent": False, "user_expressions": expressions, "allow_stdin": False}
            answers = await socket.answers(await socket.send("execute_request", content), timeout_s=60)
            [reply] = of_type(answers, "execute_reply")
            found = reply["content"]["user_expressions"]
            assert found["bad"]["ename"] == "ExecutionError"
            assert found["good"]["data"]["text/plain"] == "42"
            assert "ZeroDivision" not in json.dumps(reply)


async def test_the_replacement_is_an_option(begin: Begin) -> None:
    gateway = begin(HIDDEN, INSTEAD)
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            [error] = of_type(await socket.run(FAILS), "error")
            assert error["content"]["traceback"] == ["Ask the operator."]
    assert "Unknown option" not in gateway.log


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Gateway]:
    with apis(tmp_path) as serve:
        yield serve(f"# GET /fails\n{FAILS}", env={}, allow_tracebacks=False)


def test_an_error_of_a_notebook_that_is_an_api_is_hidden(notebook: Gateway) -> None:
    answer = httpx.get(f"{notebook.url}/fails", timeout=60, trust_env=False)
    assert (answer.status_code, answer.text) == (500, "Error ExecutionError: Execution error \n")
