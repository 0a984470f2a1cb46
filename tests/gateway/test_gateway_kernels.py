"""Kernels of the gateway: how many, which, with which seed and in which environment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.client import Client
from ..support.gateways import Gateway, gateways
from ..support.messages import Json, of_type, text_of
from ..support.notebooks import markdown_cell
from ..support.notebooks import notebook as notebook_of
from ..support.ports import free_port

LISTS_ARE_OFF = {
    "reason": "Forbidden",
    "message": "Forbidden: set list_kernels to allow lists of kernels and sessions",
}
LIST = "--JupyterWebsocketPersonality.list_kernels=True"


class GatewayClient(Client):
    """A client that knows the command which it talks to."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.url)
        self.gateway = gateway


Launch = Callable[..., AbstractAsyncContextManager[GatewayClient]]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """launch(*options, env=None): a gateway's client, whose `gateway` is the command; ended with the test."""

    @asynccontextmanager
    async def start(*options: str, env: dict[str, str] | None = None) -> AsyncIterator[GatewayClient]:
        with gateways(tmp_path) as begin:
            async with GatewayClient(begin(*options, env=env)) as client:
                yield client

    return start


def notebook(*sources: str | list[str], kernel: str = "tiny_plain") -> Json:
    """A notebook of these code cells, after a text."""
    return notebook_of(markdown_cell("not to be run"), *sources, kernel=kernel)


def old_notebook(*sources: str | list[str], kernel: str = "tiny_plain") -> dict[str, Any]:
    cells = [{"cell_type": "code", "input": source, "language": "python", "outputs": []} for source in sources]
    heading = {"cell_type": "heading", "level": 1, "source": "not to be run"}
    sheets = [{"cells": [heading, *cells[:1]]}, {"cells": cells[1:]}]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"kernelspec": {"name": kernel}}, "worksheets": sheets}


@pytest.fixture
def seed(tmp_path: Path) -> Callable[..., str]:
    """seed(notebook) writes it; returns the option."""

    def write(content: Any) -> str:
        path = tmp_path / "seed.ipynb"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return f"--KernelGatewayApp.seed_uri={path}"

    return write


async def ended(gateway: Gateway) -> str:
    """Wait until the command has ended as one that cannot start; returns its one line."""
    assert await asyncio.to_thread(gateway.wait_end) == 1
    [line] = gateway.log.splitlines()
    assert gateway.kernel_processes() == []
    assert gateway.connection_files() == []
    return line


async def variables(client: Client, **body: Any) -> dict[str, str]:
    """The environment of a new kernel."""
    kernel_id = await client.start(**body)
    return json.loads(await client.evaluate(kernel_id, "__import__('json').dumps(dict(os.environ))"))


# --- lists --------------------------------------------------------------------------------------


async def test_kernels_are_not_listed_unless_it_is_allowed(launch: Launch) -> None:
    async with launch() as client:
        for kind in ("kernels", "sessions"):
            response = await client.http.get(f"/api/{kind}")
            assert (response.status_code, response.json()) == (403, LISTS_ARE_OFF)


async def test_all_else_works_without_lists(launch: Launch) -> None:
    async with launch() as client:
        session = await client.start_session()
        kernel_id = session["kernel"]["id"]
        assert (await client.http.get(f"/api/sessions/{session['id']}")).json()["kernel"]["id"] == kernel_id
        assert (await client.kernel(kernel_id))["name"] == "tiny_plain"
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert (await client.http.delete(f"/api/sessions/{session['id']}")).status_code == 204
        assert (await client.http.get(f"/api/kernels/{kernel_id}")).status_code == 404
        assert client.gateway.kernel_processes() == []


async def test_kernels_and_sessions_are_listed_when_it_is_allowed(launch: Launch) -> None:
    async with launch(env={"KG_LIST_KERNELS": "True"}) as client:
        session = await client.start_session()
        assert [kernel["id"] for kernel in await client.kernels()] == [session["kernel"]["id"]]
        assert [one["id"] for one in (await client.http.get("/api/sessions")).json()] == [session["id"]]


# --- limits and the pool ------------------------------------------------------------------------


async def test_no_more_kernels_than_the_limit_though_all_ask_at_once(launch: Launch) -> None:
    async with launch(LIST, "--KernelGatewayApp.max_kernels=3") as client:
        answers = await asyncio.gather(
            *(client.http.post("/api/kernels", json={"name": "tiny_plain"}) for _ in range(20))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [403] * 17
        refused = next(answer for answer in answers if answer.status_code == 403)
        assert refused.json() == {"reason": "Forbidden", "message": "Resource Limit"}
        body = {"path": "a", "type": "notebook", "kernel": {"name": "tiny_plain"}}
        assert (await client.http.post("/api/sessions", json=body)).json() == refused.json()
        assert len(client.gateway.kernel_processes()) == 3
        await client.http.delete(f"/api/kernels/{(await client.kernels())[0]['id']}")
        await client.start()


async def test_the_pool_is_there_at_the_first_answer_and_counts(launch: Launch) -> None:
    options = ("--KernelGatewayApp.prespawn_count=2", "--KernelGatewayApp.max_kernels=3")
    async with launch(LIST, *options, "--KernelGatewayApp.default_kernel_name=tiny_plain") as client:
        pool = await client.kernels()
        assert [(kernel["name"], kernel["execution_state"]) for kernel in pool] == [("tiny_plain", "idle")] * 2
        assert await client.start() not in {kernel["id"] for kernel in pool}
        assert (await client.http.post("/api/kernels")).status_code == 403


async def test_a_kernel_that_does_not_start_in_the_pool_ends_the_command(tmp_path: Path) -> None:
    options = ("--KernelGatewayApp.prespawn_count=2", "--KernelGatewayApp.default_kernel_name=tiny_exits")
    line = await ended(Gateway(tmp_path / "gateway", *options))
    assert "prespawn_count=2" in line
    assert "tiny_exits" in line


# --- names --------------------------------------------------------------------------------------


async def test_the_default_kernel_is_for_requests_that_name_none(launch: Launch) -> None:
    async with launch("--KernelGatewayApp.default_kernel_name=tiny_plain") as client:
        assert (await client.http.post("/api/kernels")).json()["name"] == "tiny_plain"
        assert (await client.http.post("/api/kernels", json={"name": "tiny_slow"})).json()["name"] == "tiny_slow"
        assert (await client.http.get("/api/kernelspecs")).json()["default"] == "tiny_plain"


async def test_the_forced_kernel_is_for_all_requests(launch: Launch) -> None:
    async with launch("--KernelGatewayApp.force_kernel_name=tiny_plain") as client:
        assert (await client.http.post("/api/kernels", json={"name": "tiny_slow"})).json()["name"] == "tiny_plain"
        assert (await client.http.post("/api/kernels", json={"name": "nobody"})).json()["name"] == "tiny_plain"
        assert (await client.start_session(name="tiny_slow"))["kernel"]["name"] == "tiny_plain"


async def test_the_forced_kernel_wins_over_that_of_the_seed(launch: Launch, seed: Callable[..., str]) -> None:
    options = ("--KernelGatewayApp.force_kernel_name=tiny_plain", "--KernelGatewayApp.prespawn_count=1")
    async with launch(LIST, *options, seed(notebook("x = 1", kernel="nobody"))) as client:
        [kernel] = await client.kernels()
        assert kernel["name"] == "tiny_plain"
        assert await client.evaluate(kernel["id"], "x") == "1"


async def test_python_is_the_native_one(launch: Launch) -> None:
    async with launch("--KernelGatewayApp.default_kernel_name=python") as client:
        assert (await client.http.post("/api/kernels")).json()["name"] == "python3"
        assert (await client.http.post("/api/kernels", json={"name": "python"})).json()["name"] == "python3"


async def test_a_default_kernel_that_is_not_there_is_not_found(launch: Launch) -> None:
    async with launch("--KernelGatewayApp.default_kernel_name=nobody") as client:
        response = await client.http.post("/api/kernels")
        assert (response.status_code, response.json()["reason"]) == (404, "Not Found")
        assert "nobody" in response.json()["message"]


@pytest.mark.parametrize("name", ["allowed_kernelspecs", "whitelist"])
async def test_kernelspecs_that_are_not_allowed_are_not_there(launch: Launch, name: str) -> None:
    async with launch(f"--KernelSpecManager.{name}=Tiny_Plain", f"--KernelSpecManager.{name}=python") as client:
        specs = (await client.http.get("/api/kernelspecs")).json()
        assert (sorted(specs["kernelspecs"]), specs["default"]) == (["python3", "tiny_plain"], "python3")
        assert (await client.http.get("/api/kernelspecs/tiny_curve")).status_code == 404
        for hidden in ("tiny_curve", "TINY_CURVE"):
            assert (await client.http.post("/api/kernels", json={"name": hidden})).status_code == 404
        body = {"path": "a", "type": "notebook", "kernel": {"name": "tiny_curve"}}
        assert (await client.http.post("/api/sessions", json=body)).status_code == 404
        assert client.gateway.kernel_processes() == []
        await client.start("Tiny_Plain")


async def test_a_kernelspec_that_is_not_allowed_is_none_for_a_seed(tmp_path: Path, seed: Callable[..., str]) -> None:
    option = seed(notebook("x", kernel="tiny_curve"))
    line = await ended(Gateway(tmp_path / "gateway", option, "--KernelSpecManager.allowed_kernelspecs=tiny_plain"))
    assert "tiny_curve" in line


async def test_types_of_messages_that_are_not_allowed_do_not_reach_kernels(launch: Launch) -> None:
    option = "--MappingKernelManager.allowed_message_types"
    async with (
        launch(f"{option}=execute_request", f"{option}=kernel_info_request") as client,
        await client.connect(await client.start()) as socket,
    ):
        msg_id = await socket.send("complete_request", {"code": "", "cursor_pos": 0})
        [reply] = of_type(await socket.answers(msg_id), "complete_reply")
        assert reply["content"]["ename"] == "Forbidden"
        assert text_of(await socket.run("stream('x')")) == "x"


# --- seeds --------------------------------------------------------------------------------------

SOURCES: list[str | list[str]] = ["x = 40", ["def plus(y):\n", "    return x + y\n"]]


@pytest.mark.parametrize("make", [notebook, old_notebook])
async def test_each_kernel_has_what_the_seed_made(launch: Launch, seed: Callable[..., str], make: Any) -> None:
    async with launch(seed(make(*SOURCES))) as client:
        for _ in range(2):
            assert await client.evaluate(await client.start(), "plus(2)") == "42"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server that has /seed.ipynb, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/seed.ipynb"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(notebook(*SOURCES)).encode() if found else b"nothing")

        def log_message(self, *_: Any) -> None:
            """Not on the tests' stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_a_seed_from_a_web_server(launch: Launch, web: str) -> None:
    async with launch(f"--KernelGatewayApp.seed_uri={web}/seed.ipynb") as client:
        assert await client.evaluate(await client.start(), "plus(2)") == "42"


async def test_a_seed_that_the_web_server_does_not_have(tmp_path: Path, web: str) -> None:
    line = await ended(Gateway(tmp_path / "gateway", f"--seed_uri={web}/other.ipynb"))
    assert f"seed_uri={web}/other.ipynb" in line
    assert "404" in line


async def test_the_seed_is_run_again_after_a_restart(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(seed(notebook("x = []"))) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "(x.append(1), x)[1]") == "[1]"
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert await client.evaluate(kernel_id, "x") == "[]"


async def test_the_seed_is_run_again_after_the_kernel_died(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(seed(notebook("x = []"))) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            await socket.run("x.append(1)")
            client.gateway.process_of(kernel_id).kill()
            await socket.until_status("restarting")
            await socket.until_status("idle")
            assert text_of(await socket.run("stream(str(x))")) == "[]"


async def test_the_seed_is_for_kernels_of_its_kernelspec_only(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(seed(notebook("x = 1", kernel="tiny_plain"))) as client:
        names = "'x' in kernel.namespace"
        assert await client.evaluate(await client.start("tiny_curve"), names) == "False"
        assert await client.evaluate(await client.start("tiny_plain"), names) == "True"


async def test_a_seed_that_names_no_kernelspec_is_for_all_kernels(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(seed(notebook("x = 1") | {"metadata": {}})) as client:
        assert await client.evaluate(await client.start("tiny_curve"), "x") == "1"


async def test_the_seed_of_python_is_for_the_native_one_and_leaves_no_trace(
    launch: Launch, seed: Callable[..., str]
) -> None:
    loud = seed(notebook("print('loud'); x = 1", "x += 1; x", kernel="python"))
    async with launch(loud) as client, await client.connect(await client.start("python3")) as socket:
        answers = await socket.run("print(x)")
        assert text_of(answers) == "2\n"
        assert of_type(answers, "execute_input")[0]["content"]["execution_count"] == 1
        assert "loud" not in json.dumps([m["content"] for m in socket.received])
        parents = {m["parent_header"].get("session") for m in of_type(socket.received, "execute_input")}
        assert parents == {socket.session}


async def test_who_connects_while_the_seed_runs_waits_and_sees_starting(
    launch: Launch, seed: Callable[..., str], tmp_path: Path
) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    os.mkfifo(begun)
    os.mkfifo(gate)
    waits = f"open({str(begun)!r}, 'w').close(); open({str(gate)!r}).read(); x = 1"
    async with launch(seed(notebook(waits))) as client:
        kernel_id = str(uuid.uuid4())
        body = {"name": "tiny_plain", "kernel_id": kernel_id}
        posting = asyncio.create_task(client.http.post("/api/kernels", json=body))
        await asyncio.to_thread(lambda: open(begun).close())
        assert (await client.kernel(kernel_id))["execution_state"] == "starting"
        async with await client.connect(kernel_id) as socket:
            await socket.until_status("starting")
            msg_id = await socket.execute("stream(str(x))")
            assert not posting.done()
            await asyncio.to_thread(lambda: open(gate, "w").close())
            assert text_of(await socket.answers(msg_id)) == "1"
        assert (await posting).status_code == 201


async def test_a_seed_that_fails_is_told_to_who_asks_for_a_kernel(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(LIST, seed(notebook("x = 1", "1 / 0"))) as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 500
        assert "cell 2" in response.json()["message"]
        assert "ZeroDivisionError: division by zero" in response.json()["message"]
        assert await client.kernels() == []
        assert client.gateway.kernel_processes() == []
        assert client.gateway.connection_files() == []
        await client.start("tiny_curve")


async def test_a_seed_that_fails_is_told_to_who_asks_for_a_session(launch: Launch, seed: Callable[..., str]) -> None:
    async with launch(LIST, seed(notebook("x = 1", "1 / 0"))) as client:
        body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_plain"}}
        for _ in range(2):  # the second does not find what the first left
            response = await client.http.post("/api/sessions", json=body)
            assert response.status_code == 500
            assert "cell 2 of the seed notebook seed.ipynb" in response.json()["message"]
            assert "ZeroDivisionError" in response.json()["message"]
        assert (await client.http.get("/api/sessions")).json() == []
        assert await client.kernels() == []
        assert client.gateway.kernel_processes() == []
        assert client.gateway.connection_files() == []


async def test_a_seed_that_fails_at_a_restart_leaves_a_dead_kernel(
    launch: Launch, seed: Callable[..., str], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    async with launch(LIST, seed(notebook("x = 1", f"__import__('os').mkdir({str(made)!r})"))) as client:
        kernel_id = await client.start("tiny_plain")
        async with await client.connect(kernel_id) as socket:
            response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
            assert response.status_code == 500
            assert "cell 2 of the seed notebook seed.ipynb failed: FileExistsError" in response.json()["message"]
            await socket.until_status("dead")
        kernel = await client.until_kernel(kernel_id, lambda model: model["connections"] == 0)
        assert kernel["execution_state"] == "dead"
        assert kernel["reason"] == response.json()["message"]
        assert await client.kernels() == [kernel]
        assert client.gateway.kernel_processes() == []
        assert client.gateway.connection_files() == []
        made.rmdir()
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert await client.evaluate(kernel_id, "x") == "1"


async def test_a_dead_kernel_whose_seed_failed_can_be_deleted(
    launch: Launch, seed: Callable[..., str], tmp_path: Path
) -> None:
    async with launch(LIST, seed(notebook(f"__import__('os').mkdir({str(tmp_path / 'made')!r})"))) as client:
        session = await client.start_session(name="tiny_plain")
        kernel_id = session["kernel"]["id"]
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 500
        [listed] = (await client.http.get("/api/sessions")).json()
        assert listed["kernel"]["execution_state"] == "dead"
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        assert await client.kernels() == []
        assert (await client.http.get("/api/sessions")).json() == []


@pytest.mark.parametrize("kind", ["kernels", "sessions"])
async def test_a_cell_of_the_seed_that_does_not_end_is_told(
    launch: Launch, seed: Callable[..., str], kind: str
) -> None:
    stuck = seed(notebook("while True: pass"))
    async with launch(LIST, stuck, env={"KG_SEED_CELL_TIMEOUT": "0.5"}) as client:
        body: Json = {"name": "tiny_plain"}
        if kind == "sessions":
            body = {"path": "a.ipynb", "type": "notebook", "kernel": body}
        response = await client.http.post(f"/api/{kind}", json=body)
        assert response.status_code == 500
        said = "cell 1 of the seed notebook seed.ipynb did not end within 0.5 s (seed_cell_timeout)"
        assert said in response.json()["message"]
        assert (await client.http.get(f"/api/{kind}")).json() == []
        assert await client.kernels() == []
        assert client.gateway.kernel_processes() == []
        assert client.gateway.connection_files() == []


async def test_a_seed_that_fails_in_the_pool_ends_the_command(tmp_path: Path, seed: Callable[..., str]) -> None:
    failing = seed(notebook("1 / 0"))
    line = await ended(Gateway(tmp_path / "gateway", failing, "--KernelGatewayApp.prespawn_count=2"))
    assert "cell 1 of the seed notebook seed.ipynb" in line
    assert "ZeroDivisionError" in line
    assert "prespawn_count=2" in line


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not a notebook"),
        ("[]", "not a notebook"),
        ('{"cells": 1}', "not a notebook"),
        ('{"cells": [], "metadata": {"kernelspec": {"name": 5}}}', "not a notebook"),
        (json.dumps(notebook("x", kernel="nobody")), "nobody"),
        (None, "No such file"),
    ],
)
async def test_a_seed_that_cannot_be_one_ends_the_command(
    tmp_path: Path, seed: Callable[..., str], content: str | None, why: str
) -> None:
    option = seed(content or "")
    if content is None:
        (tmp_path / "seed.ipynb").unlink()
    line = await ended(Gateway(tmp_path / "gateway", option))
    assert option.removeprefix("--KernelGatewayApp.") in line
    assert why in line


async def test_a_seed_that_nobody_serves_ends_the_command(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/seed.ipynb"
    line = await ended(Gateway(tmp_path / "gateway", f"--seed_uri={url}"))
    assert f"seed_uri={url}" in line
    assert "refused" in line


async def test_nothing_is_answered_before_the_pool_is_ready(tmp_path: Path, seed: Callable[..., str]) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    stuck = seed(notebook(f"open({str(begun)!r}, 'w').close(); __import__('time').sleep(60)"))
    gateway = Gateway(tmp_path / "gateway", stuck, "--KernelGatewayApp.prespawn_count=1")
    try:
        await asyncio.to_thread(lambda: open(begun).close())
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx.TransportError):
                await http.get(f"{gateway.url}/healthz", timeout=1)
    finally:
        assert await asyncio.to_thread(gateway.stop, signal.SIGTERM) == 0
    assert gateway.kernel_processes() == []


# --- environment --------------------------------------------------------------------------------


async def test_of_a_request_only_kernel_variables_and_listed_names_reach_the_kernel(launch: Launch) -> None:
    async with launch("--JupyterWebsocketPersonality.env_whitelist=ONE", env={"KG_CLIENT_ENVS": "TWO"}) as client:
        env = {"KERNEL_USERNAME": "me", "ONE": "1", "TWO": "2", "THREE": "3", "PATH": "/evil"}
        seen = await variables(client, env=env)
        assert (seen["KERNEL_USERNAME"], seen["ONE"], seen["TWO"]) == ("me", "1", "2")
        assert "THREE" not in seen
        assert seen["PATH"] != "/evil"


async def test_an_env_that_is_no_object_is_refused(launch: Launch) -> None:
    async with launch() as client:
        for env in ("x", ["KERNEL_A"], 1, {"KERNEL_A": 1}):
            response = await client.http.post("/api/kernels", json={"name": "tiny_plain", "env": env})
            assert (response.status_code, response.json()["reason"]) == (400, "Bad Request")
            assert "env" in response.json()["message"]


async def test_kernels_know_that_they_are_the_gateways_and_nothing_of_its_options(launch: Launch) -> None:
    server = {"KG_AUTH_TOKEN": "", "KG_PORT_RETRIES": "7", "JUPYTER_TOKEN": "secret", "OTHER": "x"}
    option = "--JupyterWebsocketPersonality.env_whitelist=['KERNEL_GATEWAY', 'KG_EVIL', 'KG_PORT_RETRIES']"
    async with launch(option, env=server) as client:
        env = {"KERNEL_GATEWAY": "0", "KG_EVIL": "1", "KG_PORT_RETRIES": "9"}
        for body in ({}, {"env": env}):
            seen = await variables(client, **body)
            assert (seen["KERNEL_GATEWAY"], seen["OTHER"]) == ("1", "x")
            assert [name for name in seen if name.startswith("KG_")] == []
            assert "JUPYTER_TOKEN" not in seen


async def test_with_a_list_kernels_get_only_what_it_has_of_the_servers_environment(launch: Launch) -> None:
    server = {"LISTED": "1", "OTHER": "2", "JUPYTER_TOKEN": "secret"}
    async with launch(env=server | {"KG_ENV_PROCESS_WHITELIST": "LISTED, JUPYTER_TOKEN"}) as client:
        for body in ({}, {"env": {"KERNEL_A": "x"}}):
            seen = await variables(client, **body)
            assert (seen["LISTED"], seen["HOME"]) == ("1", str(client.gateway.base))
            ours = {"KERNEL_GATEWAY", "KERNEL_A", "JPY_PARENT_PID", "LC_CTYPE", "PATH", "HOME", "LISTED"}
            assert set(seen) - ours <= {"PYTHONEXECUTABLE", "JPY_SESSION_NAME", "PWD", "_"}, set(seen) - ours


async def test_variables_of_requests_at_once_stay_in_their_kernels(launch: Launch) -> None:
    async with launch("--JupyterWebsocketPersonality.env_whitelist=MINE") as client:
        seen = await asyncio.gather(
            *(variables(client, env={"MINE": str(number), f"KERNEL_{number}": "x"}) for number in range(6))
        )
        for number, found in enumerate(seen):
            assert found["MINE"] == str(number)
            numbered = [name for name in found if name.startswith("KERNEL_") and name != "KERNEL_GATEWAY"]
            assert numbered == [f"KERNEL_{number}"]
        bare = await variables(client)
        assert [name for name in bare if name == "MINE" or name.startswith("KERNEL_")] == ["KERNEL_GATEWAY"]


# --- working directory --------------------------------------------------------------------------


async def started_in(client: Client, folder: object, **body: Any) -> str:
    """The working directory of a new kernel whose request has this KERNEL_WORKING_DIR."""
    kernel_id = await client.start(env={"KERNEL_WORKING_DIR": str(folder)}, **body)
    cwd, told = json.loads(
        await client.evaluate(kernel_id, "__import__('json').dumps([os.getcwd(), os.environ['KERNEL_WORKING_DIR']])")
    )
    assert told == str(folder)
    return cwd


async def test_a_kernel_starts_in_the_folder_that_a_server_in_front_names(launch: Launch, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    async with launch() as client:
        assert await started_in(client, folder) == str(folder)
        kernel_id = await client.start(env={"KERNEL_WORKING_DIR": str(folder)})
        assert (await client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert await client.evaluate(kernel_id, "os.getcwd()") == str(folder)


async def test_a_path_of_the_request_wins_over_the_folder_of_a_server_in_front(launch: Launch, tmp_path: Path) -> None:
    async with launch() as client:
        (client.gateway.base / "own").mkdir()
        assert await started_in(client, tmp_path, path="own/a.ipynb") == str(client.gateway.base / "own")
        assert await started_in(client, tmp_path, path="/") == str(client.gateway.base)


@pytest.mark.parametrize("folder", ["{base}/gone", "{base}/a_file", "a_folder", ".", "", "~", "/" + "x" * 300])
async def test_a_folder_that_is_not_on_this_machine_is_only_a_variable(launch: Launch, folder: str) -> None:
    async with launch() as client:
        base = client.gateway.base
        (base / "a_folder").mkdir()
        (base / "a_file").touch()
        assert await started_in(client, folder.format(base=base)) == str(base)


async def test_with_a_root_kernels_start_in_no_folder_outside(launch: Launch, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "inside").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (tmp_path / "root2").mkdir()
    async with launch(f"--MappingKernelManager.root_dir={root}") as client:
        assert await started_in(client, root / "inside") == str(root / "inside")
        assert await started_in(client, root) == str(root)
        for folder in (outside, root / "link", root / ".." / "outside", tmp_path / "root2", "/"):
            assert await started_in(client, folder) == str(root)
