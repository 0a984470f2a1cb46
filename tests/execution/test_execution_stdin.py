"""Server-side execution: input() in a cell, asked by the kernel and answered over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ..support.documents import Desk, SharedDocument
from ..support.messages import Json, of_type
from ..support.notebooks import code_cell
from ..support.outputs import stream

ASK = "stream('answer: ' + reply_input('name? '))"


async def register(desk: Desk, doc: SharedDocument, name: str = "me") -> dict[str, Any]:
    """Say that a client can answer."""
    response = await desk.client.http.put(f"/api/kernels/{doc.kernel_id}/stdin/{name}")
    assert response.status_code == 200
    return response.json()


async def answer(desk: Desk, doc: SharedDocument, request_id: str, value: object) -> httpx.Response:
    url = f"/api/kernels/{doc.kernel_id}/requests/{request_id}/input"
    return await desk.client.http.post(url, json={"value": value})


async def ask(desk: Desk, code: str = ASK) -> tuple[SharedDocument, str]:
    """A notebook whose cell a waits for input, with b behind it; and the id of its request."""
    doc = await desk.open(a=code, b="stream('b')")
    await register(desk, doc)
    request_id = await doc.execute("a")
    await doc.execute("b")
    await doc.request_until(request_id, lambda model: model["input"])
    return doc, request_id


async def test_a_kernel_is_not_allowed_to_ask_when_nobody_can_answer(desk: Desk) -> None:
    doc = await desk.open(a="stream(str(request['content']['allow_stdin']))")
    await doc.run("a")
    assert doc.text("a") == "False"
    assert (await register(desk, doc))["pending"] == []
    await doc.run("a")
    assert doc.text("a") == "True"
    assert (await desk.client.http.delete(f"/api/kernels/{doc.kernel_id}/stdin/me")).status_code == 204
    await doc.run("a")
    assert doc.text("a") == "False"


async def test_one_of_several_clients_that_leaves_takes_nothing_from_the_others(desk: Desk) -> None:
    doc = await desk.open(a="stream(str(request['content']['allow_stdin']))")
    for name in ("one", "other", "one"):
        await register(desk, doc, name)
    await desk.client.http.delete(f"/api/kernels/{doc.kernel_id}/stdin/one")
    await doc.run("a")
    assert doc.text("a") == "True"


async def test_input_fails_at_once_when_nobody_can_answer(desk: Desk) -> None:
    kernel_id = await desk.client.start("python3")
    doc = await desk.open(kernel=kernel_id, a="input('name? ')")
    await doc.run("a")
    [error] = doc.outputs("a")
    assert (error["output_type"], error["ename"]) == ("error", "StdinNotImplementedError")
    await register(desk, doc)
    request_id = await doc.execute("a")
    await doc.request_until(request_id, lambda model: model["input"])
    assert (await answer(desk, doc, request_id, "Ada")).status_code == 204
    await doc.ended("a")
    assert doc.outputs("a")[0]["data"] == {"text/plain": "'Ada'"}


@pytest.mark.parametrize("password", [False, True])
async def test_what_the_kernel_asks_can_be_seen_and_answered_once(desk: Desk, password: bool) -> None:
    doc, request_id = await ask(desk, f"stream('first, ')\nstream(reply_input('name? ', {password}))")
    pending = {
        "request_id": request_id,
        "document_id": doc.room,
        "cell_id": "a",
        "prompt": "name? ",
        "password": password,
    }
    model = await doc.request(request_id)
    assert (model["state"], model["input"]) == ("running", pending)
    assert (await register(desk, doc, "reloaded"))["pending"] == [pending]
    await doc.until(lambda: doc.outputs("a") == [stream("first, ")])  # what it said before it asked
    assert doc.states["b"] == [None, "running"]
    assert (await answer(desk, doc, request_id, "Adé 😀")).status_code == 204
    assert (await answer(desk, doc, request_id, "again")).status_code == 409
    await doc.ended("a", "b")
    assert doc.outputs("a") == [stream("first, Adé 😀")]
    assert (await doc.request(request_id))["input"] is None
    assert (await register(desk, doc))["pending"] == []


async def test_each_of_several_questions_is_answered(desk: Desk) -> None:
    doc, request_id = await ask(desk, "stream(reply_input('1?') + reply_input('2?'))")
    for prompt, value in [("1?", "one"), ("2?", "")]:

        def asks(model: Json, prompt: str = prompt) -> bool:
            return (model["input"] or {}).get("prompt") == prompt

        await doc.request_until(request_id, asks)
        assert (await answer(desk, doc, request_id, value)).status_code == 204
    await doc.ended("a", "b")
    assert doc.text("a") == "one"


async def test_websockets_of_the_kernel_hear_of_the_question(desk: Desk) -> None:
    doc = await desk.open(a=ASK)
    await register(desk, doc)
    async with await desk.client.connect(doc.kernel_id) as socket:
        request_id = await doc.execute("a")
        [request] = of_type(await socket.until(lambda message: message["msg_type"] == "input_request"), "input_request")
        assert request["channel"] == "stdin"
        assert request["content"] == {"prompt": "name? ", "password": False}
        [executed] = of_type(socket.received, "execute_input")
        assert request["parent_header"]["msg_id"] == executed["parent_header"]["msg_id"]
        assert (await answer(desk, doc, request_id, "x")).status_code == 204
    await doc.ended("a")
    assert doc.text("a") == "answer: x"


async def test_an_answer_to_a_request_that_asks_nothing_is_refused(desk: Desk) -> None:
    gate = desk.gate()
    doc = await desk.open(a=gate.code)
    request_id = await doc.execute("a")
    assert (await answer(desk, doc, request_id, "x")).status_code == 409
    gate.open()
    await doc.ended("a")
    assert (await answer(desk, doc, request_id, "x")).status_code == 409


async def test_an_answer_that_is_no_text_is_refused_and_the_question_stays(desk: Desk) -> None:
    doc, request_id = await ask(desk)
    for value in (None, 1, ["x"]):
        assert (await answer(desk, doc, request_id, value)).status_code in (400, 422)
    assert (await doc.request(request_id))["input"]["prompt"] == "name? "
    assert (await answer(desk, doc, request_id, "x")).status_code == 204
    await doc.ended("a", "b")
    assert doc.text("a") == "answer: x"


async def test_a_cell_can_ask_after_a_restart_in_the_middle_of_a_question(desk: Desk) -> None:
    doc, old = await ask(desk)
    assert (await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/restart")).status_code == 200
    assert (await answer(desk, doc, old, "too late")).status_code == 409
    request_id = await doc.execute("a")
    await doc.request_until(request_id, lambda model: model["input"])
    assert (await answer(desk, doc, old, "of another time")).status_code == 409
    assert (await answer(desk, doc, request_id, "now")).status_code == 204
    await doc.request_until(request_id, lambda model: model["state"] == "done")
    await doc.until(lambda: doc.text("a") == "answer: now")


@pytest.mark.parametrize("action", ["interrupt", "restart"])
async def test_a_question_ends_with_its_execution(desk: Desk, action: str) -> None:
    doc, request_id = await ask(desk)
    gate = desk.gate()
    await doc.insert(2, code_cell(f"stream('on')\n{gate.code}", id="c"))
    await doc.heard()
    assert (await desk.client.http.post(f"/api/kernels/{doc.kernel_id}/{action}")).is_success
    await doc.ended("a", "b")
    assert (await doc.request(request_id))["input"] is None
    assert (await answer(desk, doc, request_id, "late")).status_code == 409
    assert (await register(desk, doc))["pending"] == []
    assert doc.outputs("b") == []
    request_id = await doc.execute("c")
    await doc.until(lambda: doc.text("c") == "on")
    assert (await doc.request(request_id))["input"] is None
    assert (await answer(desk, doc, request_id, "late")).status_code == 409
    gate.open()
    await doc.ended("c")
    await doc.run("b")
    assert doc.text("b") == "b"


async def test_a_question_ends_with_its_kernel(desk: Desk) -> None:
    doc, request_id = await ask(desk)
    assert (await desk.client.http.delete(f"/api/kernels/{doc.kernel_id}")).status_code == 204
    await doc.ended("a", "b")
    assert (await answer(desk, doc, request_id, "late")).status_code == 404
