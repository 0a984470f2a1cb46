"""`/api`, `/api/status`, `/api/kernels` and `/api/resolvePath`, as clients of Jupyter rely on them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ..support.client import Client, tidy_client
from ..support.keepers import is_running
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.messages import text_of
from ..support.servers import Launch, Server, options

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers a slow start soon, holds three kernels, and lets the dead rest."""
    server = Server(
        tmp_path_factory.mktemp("strict"),
        *options(max_kernels=3, start_answer_s=0.3, restart_limit=0, startup_timeout_s=60),
    )
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def strict_client(strict: Server) -> AsyncIterator[Client]:
    async with tidy_client(strict) as client:
        yield client


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a default kernel, an allowed variable, and secrets in its environment."""
    server = Server(
        tmp_path_factory.mktemp("configured"),
        *options(default_kernel="tiny_plain", client_env=["ALLOWED"]),
        env={"JUPYTER_TOKEN": "secret", "FPS_KERNELS_TOKEN": "secret", "OF_THE_SERVER": "inherited"},
    )
    spec = {
        "argv": [sys.executable, str(KERNEL), "plain", "{connection_file}"],
        "display_name": "Env",
        "language": "python",
        "env": {"OF_THE_SPEC": "${OF_THE_SERVER}/x", "KERNEL_BOTH": "of the spec"},
    }
    add_kernelspec(server.share, "with_env", spec)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def configured_client(configured: Server) -> AsyncIterator[Client]:
    async with tidy_client(configured) as client:
        yield client


# --- the server -----------------------------------------------------------------------------------


async def test_version(client: Client) -> None:
    response = await client.http.get("/api")
    assert response.status_code == 200
    assert list(response.json()) == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", response.json()["version"])


async def test_status_of_a_server_without_kernels(client: Client) -> None:
    response = await client.http.get("/api/status")
    assert response.status_code == 200
    status = response.json()
    assert sorted(status) == ["connections", "kernels", "last_activity", "started"]
    assert (status["connections"], status["kernels"]) == (0, 0)
    assert DATE.fullmatch(status["started"])
    assert DATE.fullmatch(status["last_activity"])


async def test_status_counts_kernels_and_open_sockets(client: Client) -> None:
    first, second = await asyncio.gather(client.start(), client.start())
    async with await client.connect(first) as one, await client.connect(second) as two:
        await one.receive()
        await two.receive()
        status = (await client.http.get("/api/status")).json()
    assert (status["connections"], status["kernels"]) == (2, 2)


async def test_asking_is_no_activity(client: Client) -> None:
    kernel_id = await client.start()
    before = (await client.http.get("/api/status")).json()["last_activity"]
    for path in ("status", "kernels", f"kernels/{kernel_id}", "sessions", "kernelspecs"):
        assert (await client.http.get(f"/api/{path}")).status_code == 200
    assert (await client.http.get("/api/status")).json()["last_activity"] == before
    assert (await client.kernel(kernel_id))["last_activity"] == before


async def test_execution_is_activity(client: Client) -> None:
    kernel_id = await client.start()
    before = (await client.kernel(kernel_id))["last_activity"]
    async with await client.connect(kernel_id) as socket:
        await socket.run("pass")
    after = (await client.kernel(kernel_id))["last_activity"]
    assert after > before
    assert (await client.http.get("/api/status")).json()["last_activity"] == after


async def test_activity_of_a_kernel_that_is_gone_still_counts(client: Client) -> None:
    kernel_id = await client.start()
    active = (await client.kernel(kernel_id))["last_activity"]
    await client.http.delete(f"/api/kernels/{kernel_id}")
    assert (await client.http.get("/api/status")).json()["last_activity"] >= active


# --- starting -------------------------------------------------------------------------------------


async def test_a_started_kernel_is_answered_when_it_is_ready(client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
    assert response.status_code == 201
    model = response.json()
    assert sorted(model) == ["connections", "execution_state", "id", "last_activity", "name"]
    assert response.headers["location"] == f"/api/kernels/{model['id']}"
    assert uuid.UUID(model["id"])
    assert DATE.fullmatch(model["last_activity"])
    assert (model["name"], model["execution_state"], model["connections"]) == ("tiny_plain", "idle", 0)


async def test_the_location_of_a_new_kernel_leads_to_it(client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
    assert (await client.http.get(response.headers["location"])).json()["id"] == response.json()["id"]


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"name": null}', b'{"name": ""}', b'{"path": ""}'])
async def test_without_a_name_the_default_kernel_is_started(configured_client: Client, body: bytes) -> None:
    response = await configured_client.http.post("/api/kernels", content=body)
    assert response.status_code == 201, response.text
    assert response.json()["name"] == "tiny_plain"


async def test_the_name_of_a_kernelspec_is_read_in_any_case(client: Client) -> None:
    kernel_id = await client.start("TINY_Plain")
    assert (await client.kernel(kernel_id))["name"] == "tiny_plain"


@pytest.mark.parametrize("name", ["nothing", "../tiny_plain", "tiny plain", "é", "x" * 1000])
async def test_an_unknown_kernelspec_is_not_found(client: Client, name: str) -> None:
    response = await client.http.post("/api/kernels", json={"name": name})
    assert response.status_code == 404
    assert response.json() == {"message": f"No such kernel: {name}", "reason": "Not Found"}
    assert await client.kernels() == []


async def test_a_kernel_id_may_be_chosen(client: Client) -> None:
    kernel_id = str(uuid.uuid4())
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain", "kernel_id": kernel_id})
    assert response.status_code == 201
    assert response.json()["id"] == kernel_id
    assert response.headers["location"] == f"/api/kernels/{kernel_id}"


async def test_the_id_of_an_existing_kernel_answers_with_that_kernel(client: Client) -> None:
    kernel_id = await client.start()
    response = await client.http.post("/api/kernels", json={"name": "tiny_curve", "kernel_id": kernel_id})
    assert response.status_code == 201
    assert (response.json()["id"], response.json()["name"]) == (kernel_id, "tiny_plain")
    assert len(await client.kernels()) == 1


async def test_one_kernel_id_asked_for_at_once_is_one_kernel(client: Client) -> None:
    kernel_id = str(uuid.uuid4())
    body = {"name": "tiny_plain", "kernel_id": kernel_id}
    responses = await asyncio.gather(*(client.http.post("/api/kernels", json=body) for _ in range(5)))
    assert [response.status_code for response in responses] == [201] * 5
    assert [model["id"] for model in await client.kernels()] == [kernel_id]


@pytest.mark.parametrize(
    "kernel_id", ["", "x", "../../etc", "{12345678-1234-5678-1234-567812345678}", "1" * 31, "a" * 10_000, "é" * 36]
)
async def test_a_kernel_id_that_is_not_a_uuid_is_refused(client: Client, kernel_id: str) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain", "kernel_id": kernel_id})
    assert response.status_code == 400
    assert "kernel_id" in response.json()["message"]
    assert len(response.json()["message"]) < 200
    assert await client.kernels() == []


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("name", {"name": 1}),
        ("name", {"name": ["tiny_plain"]}),
        ("name", {"name": "tiny\0plain"}),
        ("path", {"path": {}}),
        ("path", {"path": "a\0b"}),
        ("kernel_id", {"kernel_id": 5}),
        ("env", {"env": "A=1"}),
        ("env", {"env": ["A"]}),
        ("env", {"env": True}),
        ("env.KERNEL_A", {"env": {"KERNEL_A": 1}}),
        ("env.KERNEL_A", {"env": {"KERNEL_A": None}}),
        ("env.KERNEL_A", {"env": {"KERNEL_A": "x\0y"}}),
        ("env.KERNEL_A=B", {"env": {"KERNEL_A=B": "x"}}),
        ("env.", {"env": {"": "x"}}),
    ],
)
async def test_a_field_of_the_wrong_type_is_named(client: Client, field: str, body: dict) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_plain"} | body)
    assert response.status_code == 400
    assert f"{field} must be" in response.json()["message"]
    assert await client.kernels() == []


# --- starts that fail, or take long ---------------------------------------------------------------


async def test_a_kernel_that_exits_at_once_says_why(server: Server, client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_exits"})
    assert response.status_code == 500
    assert response.json() == {
        "message": "Kernel tiny_exits died at start: exited with code 3: "
        "first line of stderr | ImportError: no module named tiny",
        "reason": "Internal Server Error",
    }


async def test_a_kernel_that_exits_at_once_leaves_nothing(server: Server, client: Client) -> None:
    assert (await client.http.post("/api/kernels", json={"name": "tiny_exits"})).status_code == 500
    assert await client.kernels() == []
    assert server.connection_files() == []
    assert server.kernel_processes() == []


async def test_a_kernel_whose_program_is_missing_says_so(server: Server, client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "no_such_program"})
    assert response.status_code == 500
    assert "no-such-program" in response.json()["message"]
    assert await client.kernels() == []
    assert server.connection_files() == []


async def test_a_kernel_that_does_not_answer_in_time_is_not_waited_for_and_lives(launch: Launch) -> None:
    server = launch(*options(startup_timeout_s=0.5, start_answer_s=3_600, restart_answer_s=3_600))
    async with Client(server.url) as client:
        response = await client.http.post("/api/kernels", json={"name": "tiny_slow"})
        assert response.status_code == 201
        model = response.json()
        assert model["execution_state"] == "starting"
        assert model["reason"] == "The kernel did not answer within 0.5 s, but its process lives"
        model = await client.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")
        assert "reason" not in model
        response = await client.http.post(f"/api/kernels/{model['id']}/restart")
        assert (response.status_code, response.json()["execution_state"]) == (200, "restarting")
        assert "did not answer" in response.json()["reason"]
        await client.until_kernel(model["id"], lambda model: model["execution_state"] == "idle")


async def test_a_request_says_how_long_its_kernel_is_waited_for(launch: Launch) -> None:
    server = launch(*options(startup_timeout_s=0.1, start_answer_s=3_600))
    async with Client(server.url) as client:
        for text, state in (("60", "idle"), ("0.2", "starting"), ("", "starting")):
            body = {"name": "tiny_slow", "env": {"KERNEL_LAUNCH_TIMEOUT": text}}
            assert (await client.http.post("/api/kernels", json=body)).json()["execution_state"] == state
        for text in ("soon", "-1", "nan", "inf"):
            body = {"name": "tiny_slow", "env": {"KERNEL_LAUNCH_TIMEOUT": text}}
            response = await client.http.post("/api/kernels", json=body)
            assert response.status_code == 400
            assert "env.KERNEL_LAUNCH_TIMEOUT must be a number of seconds" in response.json()["message"]
        assert len(await client.kernels()) == 3


async def test_a_slow_start_is_answered_as_starting(strict_client: Client) -> None:
    response = await strict_client.http.post("/api/kernels", json={"name": "tiny_slow"})
    assert response.status_code == 201
    assert response.json()["execution_state"] == "starting"
    await strict_client.until_kernel(response.json()["id"], lambda model: model["execution_state"] == "idle")


async def test_a_start_that_fails_after_its_answer_is_listed_as_dead_with_the_reason(
    strict: Server, strict_client: Client
) -> None:
    kernel_id = await strict_client.start("tiny_silent")
    strict.process_of(kernel_id).kill()
    model = await strict_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")
    assert "killed (SIGKILL)" in model["reason"]


async def test_an_interrupt_of_a_kernel_that_is_starting_ends_the_cells_that_wait(strict_client: Client) -> None:
    kernel_id = await strict_client.start("tiny_slow")
    async with await strict_client.connect(kernel_id) as socket:
        first, second = await socket.execute("stream('first')"), await socket.execute("stream('second')")
        await (await socket.ws.ping())  # what was sent before has been taken
        responses = [await strict_client.http.post(f"/api/kernels/{kernel_id}/interrupt") for _ in range(2)]
        assert [response.status_code for response in responses] == [204, 204]
        answers = await socket.all_answers(first, second)
        statuses = [
            one["content"]["status"] for msg_id in answers for one in answers[msg_id] if one["channel"] == "shell"
        ]
        assert statuses == ["error", "aborted"]
        [error] = [one["content"] for one in answers[first] if one["header"]["msg_type"] == "error"]
        assert error["ename"] == "KeyboardInterrupt"
        assert text_of(await socket.run("stream('third')")) == "third"


async def test_a_kernel_that_is_starting_can_be_deleted(strict: Server, strict_client: Client) -> None:
    kernel_id = await strict_client.start("tiny_silent")
    assert (await strict_client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
    assert await strict_client.kernels() == []
    assert strict.kernel_processes() == []


async def test_the_limit_holds_for_requests_at_once(strict_client: Client) -> None:
    responses = await asyncio.gather(
        *(strict_client.http.post("/api/kernels", json={"name": "tiny_plain"}) for _ in range(10))
    )
    assert sorted(response.status_code for response in responses) == [201] * 3 + [403] * 7
    assert len(await strict_client.kernels()) == 3
    refused = [response.json() for response in responses if response.status_code == 403]
    assert refused[0] == {"message": "Resource Limit", "reason": "Forbidden"}


async def test_the_limit_holds_for_kernels_of_sessions(strict_client: Client) -> None:
    await asyncio.gather(*(strict_client.start() for _ in range(3)))
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_plain"}}
    assert (await strict_client.http.post("/api/sessions", json=body)).status_code == 403


async def test_a_kernel_that_is_gone_makes_room_for_another(strict_client: Client) -> None:
    kernel_ids = await asyncio.gather(*(strict_client.start() for _ in range(3)))
    await strict_client.http.delete(f"/api/kernels/{kernel_ids[0]}")
    await strict_client.start()


async def test_a_failed_start_does_not_count(launch: Launch) -> None:
    server = launch(*options(max_kernels=3))  # which waits for a start, however busy the machine is
    async with Client(server.url) as client:
        for _ in range(4):
            assert (await client.http.post("/api/kernels", json={"name": "tiny_exits"})).status_code == 500
        await client.start()


# --- environment and folder -----------------------------------------------------------------------


async def test_a_request_sets_kernel_variables(configured_client: Client) -> None:
    kernel_id = await configured_client.start(env={"KERNEL_A": "1", "KERNEL_ü": "ä=b"})
    assert await configured_client.evaluate(kernel_id, "os.environ['KERNEL_A'] + os.environ['KERNEL_ü']") == "1ä=b"


async def test_a_request_sets_no_other_variables(configured_client: Client) -> None:
    kernel_id = await configured_client.start(env={"OTHER": "1", "PATH": "/nowhere", "LD_PRELOAD": "evil.so"})
    values = await configured_client.evaluate(kernel_id, "[os.environ.get(n) for n in ('OTHER', 'LD_PRELOAD', 'PATH')]")
    assert values.startswith("[None, None, ")
    assert "/nowhere" not in values


async def test_a_request_sets_variables_that_the_configuration_allows(configured_client: Client) -> None:
    kernel_id = await configured_client.start(env={"ALLOWED": "yes"})
    assert await configured_client.evaluate(kernel_id, "os.environ['ALLOWED']") == "yes"


async def test_a_kernel_has_the_environment_of_the_server(configured_client: Client) -> None:
    kernel_id = await configured_client.start()
    assert await configured_client.evaluate(kernel_id, "os.environ['OF_THE_SERVER']") == "inherited"


async def test_a_kernel_does_not_see_the_secrets_of_the_server(configured_client: Client) -> None:
    kernel_id = await configured_client.start()
    assert await configured_client.evaluate(kernel_id, "'secret' in os.environ.values()") == "False"


async def test_variables_in_the_env_of_a_kernelspec_are_substituted(configured_client: Client) -> None:
    kernel_id = await configured_client.start("with_env")
    assert await configured_client.evaluate(kernel_id, "os.environ['OF_THE_SPEC']") == "inherited/x"


async def test_the_request_wins_over_the_kernelspec(configured_client: Client) -> None:
    kernel_id = await configured_client.start("with_env", env={"KERNEL_BOTH": "of the request"})
    assert await configured_client.evaluate(kernel_id, "os.environ['KERNEL_BOTH']") == "of the request"


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("", ""),
        ("top.ipynb", ""),
        ("sub/nb.ipynb", "sub"),
        ("/sub/nb.ipynb", "sub"),
        ("sub", "sub"),
        ("sub/not/there/nb.ipynb", "sub"),
        ("../../outside.ipynb", ""),
        ("sub/../../nb.ipynb", ""),
        ("/etc/passwd", ""),
        ("out/nb.ipynb", ""),
        ("x" * 5000, ""),
    ],
)
async def test_a_kernel_runs_in_the_folder_of_its_notebook(
    server: Server, client: Client, path: str, folder: str
) -> None:
    (server.root / "sub").mkdir(exist_ok=True)
    link = server.root / "out"
    if not link.is_symlink():
        link.symlink_to("/")
    kernel_id = await client.start(path=path)
    assert await client.evaluate(kernel_id, "os.getcwd()") == str((server.root / folder).resolve())


# --- one kernel -----------------------------------------------------------------------------------


async def test_all_kernels_are_listed(client: Client) -> None:
    started = await asyncio.gather(client.start(), client.start("tiny_curve"))
    response = await client.http.get("/api/kernels")
    assert response.status_code == 200
    assert {model["id"]: model["name"] for model in response.json()} == dict(
        zip(started, ["tiny_plain", "tiny_curve"], strict=True)
    )


async def test_a_kernel_is_shown_as_it_was_when_started(client: Client) -> None:
    model = (await client.http.post("/api/kernels", json={"name": "tiny_plain"})).json()
    response = await client.http.get(f"/api/kernels/{model['id']}")
    assert response.status_code == 200
    assert response.json() == model


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/interrupt"),
        ("POST", "/restart"),
        ("POST", "/execute"),
    ],
)
@pytest.mark.parametrize("kernel_id", ["x", "12345678-1234-5678-1234-567812345678", "é", "a b"])
async def test_an_unknown_kernel_is_not_found(client: Client, method: str, action: str, kernel_id: str) -> None:
    response = await client.http.request(method, f"/api/kernels/{kernel_id}{action}")
    assert response.status_code == 404
    assert response.json() == {"message": f"Kernel does not exist: {kernel_id}", "reason": "Not Found"}


async def test_a_busy_kernel_is_shown_as_busy(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        await socket.execute("import time; stream('on')\nwhile True: time.sleep(0.05)")
        await socket.until(lambda message: message["msg_type"] == "stream")
        assert (await client.kernel(kernel_id))["execution_state"] == "busy"


async def test_a_deleted_kernel_is_gone_with_its_process_and_files(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    process = server.process_of(kernel_id)
    response = await client.http.delete(f"/api/kernels/{kernel_id}")
    assert (response.status_code, response.content) == (204, b"")
    assert not is_running(process)
    assert server.connection_files() == []
    assert (await client.http.get(f"/api/kernels/{kernel_id}")).status_code == 404
    assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 404


async def test_two_deletions_at_once_both_end(client: Client) -> None:
    kernel_id = await client.start()
    responses = await asyncio.gather(*(client.http.delete(f"/api/kernels/{kernel_id}") for _ in range(2)))
    assert {response.status_code for response in responses} <= {204, 404}
    assert responses[0].status_code == 204 or responses[1].status_code == 204
    assert await client.kernels() == []


async def test_deleting_a_kernel_deletes_its_sessions(client: Client) -> None:
    session = await client.start_session()
    await client.http.delete(f"/api/kernels/{session['kernel']['id']}")
    assert (await client.http.get("/api/sessions")).json() == []
    assert (await client.http.get(f"/api/sessions/{session['id']}")).status_code == 404


async def test_a_connection_file_is_for_its_owner_only(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    file = server.runtime / f"kernel-{kernel_id}.json"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_interrupt_ends_a_cell(client: Client) -> None:
    kernel_id = await client.start()
    async with await client.connect(kernel_id) as socket:
        msg_id = await socket.execute("import time; stream('on')\nwhile True: time.sleep(0.05)")
        await socket.until(lambda message: message["msg_type"] == "stream")
        response = await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        assert (response.status_code, response.content) == (204, b"")
        reply = next(m for m in await socket.answers(msg_id) if m["msg_type"] == "execute_reply")
        assert reply["content"]["ename"] == "KeyboardInterrupt"


async def test_an_idle_kernel_survives_an_interrupt(client: Client) -> None:
    kernel_id = await client.start()
    assert (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
    assert await client.evaluate(kernel_id, "6 * 7") == "42"


async def test_a_restart_answers_with_the_ready_kernel_in_a_new_process(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    old = server.process_of(kernel_id)
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["name"]) == (kernel_id, "tiny_plain")
    assert response.json()["execution_state"] == "idle"
    assert not is_running(old)
    assert server.process_of(kernel_id).pid != old.pid


async def test_restarts_at_once_leave_one_process(server: Server, client: Client) -> None:
    kernel_id = await client.start()
    responses = await asyncio.gather(*(client.http.post(f"/api/kernels/{kernel_id}/restart") for _ in range(3)))
    assert [response.status_code for response in responses] == [200] * 3
    assert server.process_of(kernel_id).is_running()
    assert await client.evaluate(kernel_id, "'alive'") == "alive"


async def test_a_restart_that_fails_says_why_and_can_be_tried_again(server: Server, client: Client) -> None:
    broken = server.root / "broken"
    script = f'test -e {broken} && {{ echo "out of order" >&2; exit 7; }}; exec "$@"'
    argv = ["sh", "-c", script, "sh", sys.executable, str(KERNEL), "plain", "{connection_file}"]
    add_kernelspec(server.share, "sometimes_broken", {"argv": argv, "display_name": "Sometimes", "language": "python"})
    kernel_id = await client.start("sometimes_broken")

    broken.touch()
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert response.status_code == 500
    assert "exited with code 7: out of order" in response.json()["message"]
    model = await client.kernel(kernel_id)
    assert model["execution_state"] == "dead"
    assert "exited with code 7" in model["reason"]

    broken.unlink()
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert (response.status_code, response.json()["execution_state"]) == (200, "idle")
    assert "reason" not in response.json()


async def test_a_restarted_kernel_keeps_its_environment_and_folder(server: Server, client: Client) -> None:
    (server.root / "folder").mkdir()
    kernel_id = await client.start(env={"KERNEL_A": "kept"}, path="folder/nb.ipynb")
    await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert await client.evaluate(kernel_id, "os.environ['KERNEL_A'] + os.getcwd()") == f"kept{server.root / 'folder'}"


async def test_a_kernel_that_stays_dead_says_why(strict: Server, strict_client: Client) -> None:
    kernel_id = await strict_client.start()
    await strict_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
    strict.process_of(kernel_id).send_signal(signal.SIGKILL)
    model = await strict_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")
    assert model["reason"].startswith("The kernel died: killed (SIGKILL)")


async def test_a_dead_kernel_cannot_be_interrupted_but_restarted(strict: Server, strict_client: Client) -> None:
    kernel_id = await strict_client.start()
    await strict_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
    strict.process_of(kernel_id).kill()
    await strict_client.until_kernel(kernel_id, lambda model: model["execution_state"] == "dead")
    assert (await strict_client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 409
    assert (await strict_client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
    assert await strict_client.evaluate(kernel_id, "'alive'") == "alive"


# --- resolvePath ----------------------------------------------------------------------------------


async def test_a_path_below_the_root_is_resolved(server: Server, client: Client) -> None:
    (server.root / "deep" / "er").mkdir(parents=True)
    (server.root / "deep" / "er" / "file.py").touch()
    response = await client.http.get("/api/resolvePath", params={"path": "deep/er/../er/file.py"})
    assert response.status_code == 200
    assert response.json() == {"resolved": [{"scope": "server", "path": "deep/er/file.py"}]}


@pytest.mark.parametrize("path", ["nothing", "../runtime", "/etc/passwd", "~root", "x" * 5000])
async def test_a_path_that_is_not_below_the_root_is_not_resolved(client: Client, path: str) -> None:
    response = await client.http.get("/api/resolvePath", params={"path": path})
    assert response.status_code == 200
    assert response.json() == {"resolved": []}


async def test_a_path_is_resolved_as_a_kernel_sees_it(server: Server, client: Client) -> None:
    (server.root / "seen").mkdir()
    (server.root / "seen" / "data.csv").touch()
    kernel_id = await client.start(path="seen/nb.ipynb")
    response = await client.http.get("/api/resolvePath", params={"path": "data.csv", "kernel": kernel_id})
    [found] = response.json()["resolved"]
    assert found["scope"] == "kernel"
    assert found["path"].endswith("data.csv")


def way(to: Path, start: Path) -> str:
    return os.path.relpath(to, start)


async def test_nothing_is_told_of_paths_outside_the_root(server: Server, client: Client, tmp_path: Path) -> None:
    """Whether they exist or not, and however one gets there: the answer is the same."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "there").touch()
    inside = server.root / "inside"
    inside.mkdir()
    (inside / "file").touch()
    (inside / "out").symlink_to(secret)
    (inside / "file_out").symlink_to(secret / "there")
    (inside / "nowhere").symlink_to(secret / "not there")
    up = way(secret, inside)
    kernel_id = await client.start(path="inside/nb.ipynb")
    for path in (
        "/etc/shadow",
        "/etc/no such file",
        str(secret / "there"),
        str(secret / "not there"),
        f"{up}/there",
        f"{up}/not there",
        "out/there",
        "out/not there",
        f"{inside}/out/there",
        "file_out",
        "nowhere",
        f"{inside}/../../../etc/passwd",
        "~root",
        "~no such user/x",
        "x" * 5000,
        "../" * 100 + "etc/passwd",
    ):
        for kernel in ({}, {"kernel": kernel_id}):
            response = await client.http.get("/api/resolvePath", params={"path": path, **kernel})
            assert (response.status_code, response.json()) == (200, {"resolved": []}), path


async def test_a_way_through_outside_tells_nothing_of_outside(server: Server, client: Client, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (server.root / "through").mkdir()
    (server.root / "through" / "file").touch()
    kernel_id = await client.start(path="through/nb.ipynb")
    back = way(server.root, tmp_path)
    found = []
    for middle in ("there", "not there"):
        path = f"{tmp_path}/{middle}/../{back}/through/file"
        response = await client.http.get("/api/resolvePath", params={"path": path, "kernel": kernel_id})
        found.append(response.json()["resolved"])
    assert found[0] == found[1]


async def test_an_absolute_path_below_the_root_is_resolved_as_a_kernel_sees_it(server: Server, client: Client) -> None:
    """As in a traceback."""
    (server.root / "traced.py").touch()
    kernel_id = await client.start()
    path = str(server.root / "traced.py")
    response = await client.http.get("/api/resolvePath", params={"path": path, "kernel": kernel_id})
    assert {"scope": "kernel", "path": path} in response.json()["resolved"]


async def test_an_unknown_kernel_resolves_nothing(client: Client) -> None:
    response = await client.http.get("/api/resolvePath", params={"path": "x", "kernel": "nobody"})
    assert response.status_code == 200
    assert response.json()["unresolved"] == [{"scope": "kernel", "reason": "Kernel nobody could not be found"}]


@pytest.mark.parametrize("query", ["", "?path=a%00b"])
async def test_a_path_that_is_none_is_refused(client: Client, query: str) -> None:
    response = await client.http.get(f"/api/resolvePath{query}")
    assert response.status_code == 400
    assert "path" in response.json()["message"]


async def test_a_server_without_shared_documents_says_so(client: Client) -> None:
    kernel_id = await client.start()
    for method, path, body in [
        ("POST", "execute", {"document_id": "json:notebook:x", "cell_id": "a"}),
        ("GET", "requests/x", None),
        ("POST", "requests/x/input", {"value": ""}),
        ("PUT", "stdin/me", None),
        ("DELETE", "stdin/me", None),
    ]:
        response = await client.http.request(method, f"/api/kernels/{kernel_id}/{path}", json=body)
        assert response.status_code == 501, path
        assert "no shared documents" in response.json()["message"]
