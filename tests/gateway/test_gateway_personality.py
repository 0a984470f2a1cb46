"""Personalities of other people: modules that decide what `fps-kernels` serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.gateways import Gateway, gateways
from ..support.notebooks import write_notebook

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PLAIN = """
from fastapi import APIRouter

class Plain:
    {methods}

def create_personality(parent):
    return Plain()
"""

Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*options, api=…, module=…): `module` is the text of a module of that name."""
    with gateways(tmp_path) as begin:

        def start(*options: str, api: str = "mine", module: str | None = None, ready: bool = True) -> Gateway:
            if module is not None:
                (tmp_path / f"{api}.py").write_text(module)
            path = os.pathsep.join([str(tmp_path), str(EXAMPLES), os.environ.get("PYTHONPATH", "")])
            return begin(f"--api={api}", *options, env={"PYTHONPATH": path}, ready=ready)

        yield start


def plain(*methods: str) -> str:
    return PLAIN.format(methods="\n    ".join(methods) or "pass")


def post(gateway: Gateway, path: str, **body: Any) -> httpx.Response:
    return httpx.post(gateway.url + path, json=body, timeout=30, trust_env=False)


def get(gateway: Gateway, path: str) -> httpx.Response:
    return httpx.get(gateway.url + path, timeout=30, trust_env=False)


def test_the_example_of_the_documentation(start: Start, tmp_path: Path) -> None:
    gateway = start(
        write_notebook(tmp_path / "seed.ipynb", "answer = 42", "# not for the evaluator\nanswer = 0", kernel="python3"),
        api="evaluator",
    )
    assert post(gateway, "/evaluate", expression="answer").json() == {"value": "42"}
    assert post(gateway, "/evaluate", expression="1 / 0").status_code == 400
    assert list(get(gateway, "/openapi.json").json()["paths"]) == ["/evaluate"]
    assert get(gateway, "/api/kernels").status_code == 404, "the API of another personality is there"
    gateway.process.terminate()
    assert gateway.process.wait(30) == 0
    assert "The evaluator has shut down" in gateway.log


def test_a_personality_is_below_the_base_url_and_behind_the_token(start: Start) -> None:
    gateway = start("--KernelGatewayApp.base_url=/below", "--token=secret", api="evaluator")
    assert gateway.url.endswith("/below")
    assert post(gateway, "/evaluate", expression="1").status_code == 401
    assert post(gateway, "/evaluate?token=secret", expression="1").json() == {"value": "1"}
    assert post(gateway, "/../evaluate?token=secret", expression="1").status_code == 404


def test_methods_may_be_missing_or_plain_functions(start: Start) -> None:
    gateway = start(
        module=plain(
            "def create_request_handlers(self):",
            "    router = APIRouter()",
            "    router.add_api_route('/hello', lambda: 'hello')",
            "    return router",
        )
    )
    assert get(gateway, "/hello").json() == "hello"


def test_ours_can_be_extended(start: Start) -> None:
    gateway = start(
        module="""
from fps_kernels.gateway.jupyter_websocket import JupyterWebsocketPersonality

class Extended(JupyterWebsocketPersonality):
    def create_request_handlers(self):
        router = super().create_request_handlers()
        router.add_api_route("/hello", lambda: "hello")
        return router

def create_personality(parent):
    return Extended(parent=parent)
"""
    )
    assert get(gateway, "/hello").json() == "hello"
    assert get(gateway, "/api/kernelspecs").status_code == 200
    assert get(gateway, "/api/kernels/no-such").json()["reason"] == "Not Found"
    assert {"/hello", "/api/kernels"} <= set(get(gateway, "/openapi.json").json()["paths"])
    assert {"/hello", "/api/kernels"} <= set(get(gateway, "/api/swagger.json").json()["paths"])


def test_the_openapi_document_is_the_one_that_the_personality_describes(start: Start) -> None:
    info = {"title": "mine", "version": "7"}
    document = {"openapi": "3.0.3", "info": info, "paths": {}, "servers": [{"url": "/below"}]}
    gateway = start("--KernelGatewayApp.base_url=/below", module=plain(f"def describe(self): return {document}"))
    assert get(gateway, "/openapi.json").json() == document


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (plain("def create_request_handlers(self): return [('/', None)]"), "create_request_handlers returns a list"),
        (plain("def create_request_handlers(self): raise KeyError('x')"), "create_request_handlers failed: KeyError"),
        (plain("async def init_configurables(self): 1 / 0"), "init_configurables failed: ZeroDivisionError"),
        ("def create_personality(parent): raise OSError('no licence')", "no licence"),
    ],
    ids=["handlers of Tornado", "handlers fail", "init fails", "creation fails"],
)
def test_a_personality_that_fails_ends_the_program_with_one_line(start: Start, module: str, complaint: str) -> None:
    gateway = start(module=module, ready=False)
    assert gateway.process.wait(30) == 1
    [line] = gateway.log.splitlines()
    assert line.startswith("fps-kernels: api=mine: ")
    assert complaint in line


def test_a_failing_shutdown_does_not_keep_the_server_from_ending(start: Start) -> None:
    gateway = start(module=plain("def shutdown(self): 1 / 0"))
    gateway.process.terminate()
    assert gateway.process.wait(30) == 0
    assert "api=mine: shutdown failed: ZeroDivisionError" in gateway.log


def test_it_answers_but_is_not_ready_while_the_personality_finishes(start: Start, tmp_path: Path) -> None:
    finish = tmp_path / "finish"
    gateway = start(
        module="import asyncio, os\n"
        + plain(
            "async def shutdown(self):",
            f"    while not os.path.exists({str(finish)!r}): await asyncio.sleep(0.01)",
        )
    )
    assert get(gateway, "/readyz").status_code == 200
    gateway.process.terminate()
    while get(gateway, "/readyz").status_code == 200:
        pass
    assert get(gateway, "/readyz").status_code == 503
    assert get(gateway, "/healthz").status_code == 200
    finish.touch()
    assert gateway.process.wait(30) == 0
