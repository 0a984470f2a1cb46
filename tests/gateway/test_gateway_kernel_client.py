"""The kernels of the gateway, and of `fps-kernels lab`, as `jupyter-kernel-client` uses them, a client for programs.

In the JSON protocol, its default: asked for the other one, release 1.0.2 takes no message at all, as its own
`_on_message` raises KeyError for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_kernel_client import JupyterKernelClient
from requests import HTTPError

from ..support.entrances import ENTRANCES, Entrance, open_entrance
from ..support.gateways import gateways
from ..support.keepers import is_running
from ..support.outputs import merged


@pytest.fixture(scope="module", params=ENTRANCES)
def entrance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield open_entrance(begin, request.param)


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """The client would ask one of the environment's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


def client(entrance: Entrance, **more: Any) -> JupyterKernelClient:
    """Not yet connected. Without a kernel_id it starts a kernel, which ends with it."""
    shown = {"token": entrance.token or None, "headers": entrance.headers}
    return JupyterKernelClient(server_url=entrance.server.url, **(shown | more))


@pytest.fixture(scope="module")
def kernel(entrance: Entrance) -> Iterator[JupyterKernelClient]:
    """One for all tests: the client takes up to ten seconds to notice that it has closed its own WebSocket."""
    with client(entrance) as kernel:
        yield kernel


def printed(result: dict[str, Any]) -> str:
    assert result["status"] == "ok", result
    return "".join(output["text"] for output in result["outputs"] if output["output_type"] == "stream")


def test_a_cell_has_outputs_of_all_types(kernel: JupyterKernelClient) -> None:
    result = kernel.execute(
        "import sys\n"
        "print('out', flush=True)\n"
        "print('err', file=sys.stderr, flush=True)\n"
        "display({'text/html': '<b>ü</b>'}, raw=True)\n"
        "6 * 7"
    )
    assert result["status"] == "ok"
    count = result["execution_count"]
    assert merged(result["outputs"]) == [
        {"output_type": "stream", "name": "stdout", "text": "out\n"},
        {"output_type": "stream", "name": "stderr", "text": "err\n"},
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>ü</b>"}},
        {"output_type": "execute_result", "metadata": {}, "data": {"text/plain": "42"}, "execution_count": count},
    ]


def test_an_error_is_an_output_and_the_kernel_goes_on(kernel: JupyterKernelClient) -> None:
    result = kernel.execute("1 / 0")
    assert result["status"] == "error"
    [error] = result["outputs"]
    assert (error["output_type"], error["ename"], error["evalue"]) == ("error", "ZeroDivisionError", "division by zero")
    assert error["traceback"]
    assert printed(kernel.execute("print('on')")) == "on\n"


def test_cells_are_executed_one_after_the_other(kernel: JupyterKernelClient) -> None:
    first, *counts = [kernel.execute(f"x = {number}")["execution_count"] for number in range(10)]
    assert counts == list(range(first + 1, first + 10))
    assert printed(kernel.execute("print(x)")) == "9\n"


def test_the_kernel_tells_what_it_is_and_what_it_has(kernel: JupyterKernelClient) -> None:
    assert kernel.kernel_info["language_info"]["name"] == "python"
    kernel.execute("x = 1")
    assert "x" in [variable["name"] for variable in kernel.list_variables()]


def test_input_is_asked_for_and_answered(kernel: JupyterKernelClient) -> None:
    prompts = []

    def answer(request: dict[str, Any]) -> None:
        prompts.append(request["content"]["prompt"])
        kernel._manager.client.input("Ada")

    result = kernel.execute("print('hello', input('name? '))", allow_stdin=True, stdin_hook=answer)
    assert "hello Ada\n" in printed(result)
    assert prompts == ["name? "]


def test_an_interrupt_ends_the_cell_and_not_the_kernel(kernel: JupyterKernelClient) -> None:
    kernel.execute("x = 1")
    errors = []

    def on_output(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] == "stream":
            kernel.interrupt()
        elif message["header"]["msg_type"] == "error":
            errors.append(message["content"]["ename"])

    code = "import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)"
    reply = kernel.execute_interactive(code, output_hook=on_output)
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    assert errors == ["KeyboardInterrupt"]
    assert printed(kernel.execute("print(x)")) == "1\n"


def test_a_restart_keeps_the_connection_and_loses_the_variables(kernel: JupyterKernelClient) -> None:
    kernel.execute("x = 1")
    kernel_id = kernel.id
    kernel.restart()
    assert kernel.is_alive()
    assert (kernel.id, kernel.execution_state) == (kernel_id, "idle")
    result = kernel.execute("print('x' in globals())")
    assert (printed(result), result["execution_count"]) == ("False\n", 1)


def test_another_client_joins_a_kernel_by_its_id_and_leaves_it_running(
    kernel: JupyterKernelClient, entrance: Entrance
) -> None:
    kernel.execute("x = 1")
    with client(entrance, kernel_id=kernel.id) as other:
        assert printed(other.execute("print(x)\nx += 1")) == "1\n"
    assert printed(kernel.execute("print(x)")) == "2\n"


def test_the_end_of_the_client_is_that_of_its_kernel(kernel: JupyterKernelClient, entrance: Entrance) -> None:
    with client(entrance) as other:
        assert {model["id"] for model in kernel.list_kernels()} == {kernel.id, other.id}
        process = entrance.server.process_of(other.id)
    assert {model["id"] for model in kernel.list_kernels()} == {kernel.id}
    assert not is_running(process)


def test_a_client_that_shows_nothing_or_too_little_is_refused(entrance: Entrance, kernel: JupyterKernelClient) -> None:
    cookie = {name: value for name, value in entrance.headers.items() if name == "Cookie"}
    refused: list[tuple[str, str | None, dict[str, str]]] = [("401", None, {}), ("401", "wrong", {})]
    if cookie:
        refused += [("401", None, {"X-XSRFToken": entrance.headers["X-XSRFToken"]}), ("403", None, cookie)]
    for status, token, headers in refused:
        with pytest.raises(HTTPError, match=status):
            client(entrance, token=token, headers=headers).start()
        if "Cookie" not in headers:  # which is enough for what changes nothing
            with pytest.raises(HTTPError, match=status):
                client(entrance, token=token, headers=headers, kernel_id=kernel.id)
    assert [model["id"] for model in kernel.list_kernels()] == [kernel.id]
