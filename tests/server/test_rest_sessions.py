"""`/api/sessions`: which notebook has which kernel."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from ..support.client import Client
from ..support.keepers import is_running
from ..support.servers import Server


async def patch(client: Client, session_id: str, **body: Any) -> Any:
    """Change a session; returns its new model."""
    response = await client.http.patch(f"/api/sessions/{session_id}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def kernel_ids(client: Client) -> list[str]:
    return [model["id"] for model in await client.kernels()]


# --- POST -----------------------------------------------------------------------------------------


async def test_a_new_session_has_a_ready_kernel(client: Client) -> None:
    body = {"path": "sub/a.ipynb", "type": "notebook", "name": "a.ipynb", "kernel": {"name": "tiny_plain"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 201
    model = response.json()
    assert response.headers["location"] == f"/api/sessions/{model['id']}"
    assert uuid.UUID(model["id"])
    assert model["kernel"] == await client.kernel(model["kernel"]["id"])
    assert model["kernel"]["execution_state"] == "idle"
    assert {key: model[key] for key in model if key not in ("id", "kernel")} == {
        "path": "sub/a.ipynb",
        "name": "a.ipynb",
        "type": "notebook",
        "notebook": {"path": "sub/a.ipynb", "name": "a.ipynb"},
    }


@pytest.mark.parametrize("kind", ["console", "file"])
async def test_a_session_of_another_type_has_no_notebook(client: Client, kind: str) -> None:
    model = await client.start_session("console-1", type=kind)
    assert sorted(model) == ["id", "kernel", "name", "path", "type"]
    assert model["type"] == kind


async def test_a_session_without_a_name_has_an_empty_one(client: Client) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_plain"}}
    assert (await client.http.post("/api/sessions", json=body)).json()["name"] == ""


async def test_the_old_form_of_a_notebook_session(client: Client) -> None:
    body = {"notebook": {"path": "old.ipynb"}, "kernel": {"name": "tiny_plain"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 201
    assert (response.json()["path"], response.json()["type"]) == ("old.ipynb", "notebook")
    assert response.json()["notebook"]["path"] == "old.ipynb"


@pytest.mark.parametrize("kernel", [{}, {"kernel": None}, {"kernel": {}}, {"kernel": {"name": None, "id": None}}])
async def test_a_session_that_names_no_kernel_gets_the_default_one(client: Client, kernel: dict) -> None:
    response = await client.http.post("/api/sessions", json={"path": "a.ipynb", "type": "notebook", **kernel})
    assert response.status_code == 201
    assert response.json()["kernel"]["name"] == "python3"


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("path", {"type": "notebook"}),
        ("path", {"path": None, "type": "notebook"}),
        ("type", {"path": "a.ipynb"}),
        ("notebook.name", {"notebook": {}}),
    ],
)
async def test_a_missing_field_is_named(client: Client, field: str, body: dict) -> None:
    response = await client.http.post("/api/sessions", json=body | {"kernel": {"name": "tiny_plain"}})
    assert response.status_code == 400
    assert response.json() == {"message": f"Missing field in JSON data: {field}", "reason": "Bad Request"}
    assert await client.kernels() == []


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("path", {"path": 1}),
        ("path", {"path": "a\0b"}),
        ("type", {"type": ["notebook"]}),
        ("name", {"name": {}}),
        ("kernel", {"kernel": "tiny_plain"}),
        ("kernel", {"kernel": ["tiny_plain"]}),
        ("kernel.name", {"kernel": {"name": 5}}),
        ("kernel.id", {"kernel": {"id": 5}}),
        ("notebook", {"notebook": "a.ipynb"}),
        ("notebook.path", {"notebook": {"path": 5}}),
    ],
)
async def test_a_field_of_the_wrong_type_is_named(client: Client, field: str, body: dict) -> None:
    whole = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_plain"}}
    response = await client.http.post("/api/sessions", json=whole | body)
    assert response.status_code == 400
    assert f": {field} must be" in response.json()["message"]
    assert await client.kernels() == []


@pytest.mark.parametrize("body", [b"", b"null"])
async def test_a_session_without_a_body_is_refused(client: Client, body: bytes) -> None:
    assert (await client.http.post("/api/sessions", content=body)).status_code == 400


async def test_a_session_for_an_unknown_kernelspec_is_not_found(client: Client) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "nothing"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 404
    assert response.json()["message"] == "No such kernel: nothing"
    assert (await client.http.get("/api/sessions")).json() == []


async def test_a_session_whose_kernel_does_not_start_is_not_created(client: Client) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_exits"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 500
    assert "exited with code 3" in response.json()["message"]
    assert (await client.http.get("/api/sessions")).json() == []
    assert await client.kernels() == []
    await client.start_session()  # its path is free


async def test_a_known_path_answers_with_its_session(client: Client) -> None:
    first = await client.start_session()
    again = await client.start_session(name="tiny_curve")
    assert again == first
    assert await kernel_ids(client) == [first["kernel"]["id"]]


async def test_requests_for_one_path_at_once_get_one_session(client: Client) -> None:
    models = await asyncio.gather(*(client.start_session() for _ in range(8)))
    assert len({model["id"] for model in models}) == 1
    assert await kernel_ids(client) == [models[0]["kernel"]["id"]]


async def test_a_session_attaches_to_a_running_kernel(client: Client) -> None:
    kernel_id = await client.start()
    model = await client.start_session(kernel={"id": kernel_id})
    assert model["kernel"]["id"] == kernel_id
    assert await kernel_ids(client) == [kernel_id]


async def test_an_unknown_kernel_id_with_a_name_is_started_under_that_id(client: Client) -> None:
    kernel_id = str(uuid.uuid4())
    model = await client.start_session(kernel={"id": kernel_id, "name": "tiny_plain"})
    assert (model["kernel"]["id"], model["kernel"]["name"]) == (kernel_id, "tiny_plain")


async def test_an_unknown_kernel_id_without_a_name_is_not_found(client: Client) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"id": "12345678-1234-5678-1234-567812345678"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 404
    assert "12345678-1234-5678-1234-567812345678" in response.json()["message"]
    assert (await client.http.get("/api/sessions")).json() == []


@pytest.mark.parametrize("kernel_id", ["../../etc/passwd", "a b", "é", "x" * 1000])
async def test_a_kernel_id_that_cannot_be_one_is_refused(client: Client, kernel_id: str) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"id": kernel_id, "name": "tiny_plain"}}
    response = await client.http.post("/api/sessions", json=body)
    assert response.status_code == 400
    assert await client.kernels() == []


async def test_the_kernel_of_a_session_runs_in_the_folder_of_its_notebook(server: Server, client: Client) -> None:
    (server.root / "project").mkdir()
    model = await client.start_session("project/a.ipynb")
    assert await client.evaluate(model["kernel"]["id"], "os.getcwd()") == str(server.root / "project")


async def test_the_kernel_of_a_session_knows_its_notebook(server: Server, client: Client) -> None:
    model = await client.start_session("/not/there/a.ipynb")
    name = await client.evaluate(model["kernel"]["id"], "os.environ['JPY_SESSION_NAME']")
    assert name == str(server.root / "not" / "there" / "a.ipynb")


# --- GET ------------------------------------------------------------------------------------------


async def test_all_sessions_are_listed(client: Client) -> None:
    models = await asyncio.gather(*(client.start_session(path) for path in ("a.ipynb", "b.ipynb")))
    response = await client.http.get("/api/sessions")
    assert response.status_code == 200
    assert sorted(response.json(), key=lambda model: model["path"]) == models


async def test_a_session_is_shown_as_it_was_when_created(client: Client) -> None:
    model = await client.start_session()
    response = await client.http.get(f"/api/sessions/{model['id']}")
    assert response.status_code == 200
    assert response.json() == model


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("session_id", ["x", "12345678-1234-5678-1234-567812345678", "é", "a b"])
async def test_an_unknown_session_is_not_found(client: Client, method: str, session_id: str) -> None:
    response = await client.http.request(method, f"/api/sessions/{session_id}", content=b'{"path": "b"}')
    assert response.status_code == 404
    assert response.json() == {"message": f"Session not found: {session_id}", "reason": "Not Found"}


# --- PATCH ----------------------------------------------------------------------------------------


async def test_a_session_is_renamed(client: Client) -> None:
    old = await client.start_session()
    new = await patch(client, old["id"], path="b.ipynb", name="b")
    assert new == old | {"path": "b.ipynb", "name": "b", "notebook": {"path": "b.ipynb", "name": "b"}}
    assert (await client.http.get(f"/api/sessions/{old['id']}")).json() == new


async def test_a_session_is_renamed_in_the_old_form(client: Client) -> None:
    old = await client.start_session()
    new = await patch(client, old["id"], notebook={"path": "b.ipynb"})
    assert (new["path"], new["kernel"]["id"]) == ("b.ipynb", old["kernel"]["id"])


async def test_the_old_path_of_a_renamed_session_is_free(client: Client) -> None:
    old = await client.start_session()
    await patch(client, old["id"], path="b.ipynb")
    assert (await client.start_session())["id"] != old["id"]


async def test_the_next_process_of_a_renamed_session_knows_its_notebook(server: Server, client: Client) -> None:
    session = await client.start_session()
    await patch(client, session["id"], path="b.ipynb")
    await client.http.post(f"/api/kernels/{session['kernel']['id']}/restart")
    name = await client.evaluate(session["kernel"]["id"], "os.environ['JPY_SESSION_NAME']")
    assert name == str(server.root / "b.ipynb")


async def test_the_type_of_a_session_is_changed(client: Client) -> None:
    old = await client.start_session()
    new = await patch(client, old["id"], type="console")
    assert new["type"] == "console"
    assert "notebook" not in new


async def test_a_session_gets_another_kernel_by_id(client: Client) -> None:
    session = await client.start_session()
    other = await client.start("tiny_curve")
    new = await patch(client, session["id"], kernel={"id": other})
    assert (new["id"], new["kernel"]["id"], new["kernel"]["name"]) == (session["id"], other, "tiny_curve")
    assert await kernel_ids(client) == [other]


async def test_the_kernel_id_decides_over_the_kernel_name(client: Client) -> None:
    session = await client.start_session()
    other = await client.start("tiny_curve")
    new = await patch(client, session["id"], kernel={"id": other, "name": "tiny_plain"})
    assert new["kernel"]["id"] == other


async def test_a_session_gets_another_kernel_by_name(client: Client) -> None:
    session = await client.start_session()
    new = await patch(client, session["id"], kernel={"name": "tiny_curve"})
    assert new["kernel"]["name"] == "tiny_curve"
    assert new["kernel"]["execution_state"] == "idle"
    assert await kernel_ids(client) == [new["kernel"]["id"]]


async def test_a_new_kernel_by_name_may_be_of_the_same_name(client: Client) -> None:
    session = await client.start_session()
    new = await patch(client, session["id"], kernel={"name": "tiny_plain", "id": None})
    assert new["kernel"]["id"] != session["kernel"]["id"]
    assert await kernel_ids(client) == [new["kernel"]["id"]]


async def test_new_kernels_by_name_asked_for_at_once_leave_one(client: Client) -> None:
    session = await client.start_session()
    await asyncio.gather(*(patch(client, session["id"], kernel={"name": "tiny_plain"}) for _ in range(4)))
    model = (await client.http.get(f"/api/sessions/{session['id']}")).json()
    assert await kernel_ids(client) == [model["kernel"]["id"]]


async def test_the_replaced_kernel_stays_for_another_session(client: Client) -> None:
    first = await client.start_session("a.ipynb")
    await client.start_session("b.ipynb", kernel={"id": first["kernel"]["id"]})
    new = await patch(client, first["id"], kernel={"name": "tiny_plain"})
    assert sorted(await kernel_ids(client)) == sorted([first["kernel"]["id"], new["kernel"]["id"]])


@pytest.mark.parametrize("body", [{}, {"kernel": {}}, {"kernel": None}, {"path": None, "name": None, "type": None}])
async def test_nothing_to_change_changes_nothing(client: Client, body: dict) -> None:
    session = await client.start_session()
    assert await patch(client, session["id"], **body) == session


async def test_a_session_may_be_sent_back_as_it_was(client: Client) -> None:
    session = await client.start_session()
    assert await patch(client, session["id"], **session) == session


async def test_another_id_in_the_body_is_refused(client: Client) -> None:
    session, other = await client.start_session("a.ipynb"), await client.start_session("b.ipynb")
    response = await client.http.patch(f"/api/sessions/{session['id']}", json={"id": other["id"], "path": "c.ipynb"})
    assert response.status_code == 400
    assert "id" in response.json()["message"]
    paths = [model["path"] for model in (await client.http.get("/api/sessions")).json()]
    assert sorted(paths) == ["a.ipynb", "b.ipynb"]


@pytest.mark.parametrize(
    ("status", "message", "kernel"),
    [
        (400, "No such kernel: nobody", {"id": "nobody"}),
        (400, "No such kernel: nobody", {"id": "nobody", "name": "tiny_plain"}),
        (404, "No such kernel: nothing", {"name": "nothing"}),
        (500, "exited with code 3", {"name": "tiny_exits"}),
    ],
)
async def test_a_change_that_fails_changes_nothing(client: Client, status: int, message: str, kernel: dict) -> None:
    session = await client.start_session()
    response = await client.http.patch(
        f"/api/sessions/{session['id']}", json={"path": "b.ipynb", "name": "b", "type": "console", "kernel": kernel}
    )
    assert response.status_code == status
    assert message in response.json()["message"]
    assert (await client.http.get(f"/api/sessions/{session['id']}")).json() == session
    assert await kernel_ids(client) == [session["kernel"]["id"]]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("path", {"path": 1}),
        ("name", {"name": 1}),
        ("type", {"type": 1}),
        ("id", {"id": 1}),
        ("kernel", {"kernel": "tiny_plain"}),
        ("kernel.id", {"kernel": {"id": 1}}),
        ("kernel.name", {"kernel": {"name": 1}}),
        ("notebook.path", {"notebook": {"path": 1}}),
    ],
)
async def test_a_changed_field_of_the_wrong_type_is_named(client: Client, field: str, body: dict) -> None:
    session = await client.start_session()
    response = await client.http.patch(f"/api/sessions/{session['id']}", json=body)
    assert response.status_code == 400
    assert f": {field} must be" in response.json()["message"]
    assert (await client.http.get(f"/api/sessions/{session['id']}")).json() == session


async def test_a_change_without_a_body_is_refused(client: Client) -> None:
    session = await client.start_session()
    assert (await client.http.patch(f"/api/sessions/{session['id']}")).status_code == 400


async def test_a_session_deleted_while_its_new_kernel_starts_leaves_no_kernel(client: Client) -> None:
    session = await client.start_session()
    change = asyncio.create_task(
        client.http.patch(f"/api/sessions/{session['id']}", json={"kernel": {"name": "tiny_slow"}})
    )
    await client.until(lambda kernels: len(kernels) == 2)
    assert (await client.http.delete(f"/api/sessions/{session['id']}")).status_code == 204
    assert (await change).status_code == 404
    assert await client.kernels() == []


# --- DELETE ---------------------------------------------------------------------------------------


async def test_deleting_a_session_shuts_its_kernel_down(server: Server, client: Client) -> None:
    session = await client.start_session()
    process = server.process_of(session["kernel"]["id"])
    response = await client.http.delete(f"/api/sessions/{session['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert not is_running(process)
    assert await client.kernels() == []
    assert (await client.http.delete(f"/api/sessions/{session['id']}")).status_code == 404


async def test_a_kernel_goes_with_the_last_of_its_sessions(client: Client) -> None:
    first = await client.start_session("a.ipynb")
    second = await client.start_session("b.ipynb", kernel={"id": first["kernel"]["id"]})
    await client.http.delete(f"/api/sessions/{first['id']}")
    assert await kernel_ids(client) == [first["kernel"]["id"]]
    await client.http.delete(f"/api/sessions/{second['id']}")
    assert await kernel_ids(client) == []


async def test_sessions_of_one_kernel_deleted_at_once_take_it_along(client: Client) -> None:
    first = await client.start_session("a.ipynb")
    second = await client.start_session("b.ipynb", kernel={"id": first["kernel"]["id"]})
    responses = await asyncio.gather(*(client.http.delete(f"/api/sessions/{model['id']}") for model in (first, second)))
    assert [response.status_code for response in responses] == [204, 204]
    assert await client.kernels() == []


async def test_a_session_of_a_kernel_that_is_going_can_be_deleted(client: Client) -> None:
    session = await client.start_session()
    kernel, deleted = await asyncio.gather(
        client.http.delete(f"/api/kernels/{session['kernel']['id']}"),
        client.http.delete(f"/api/sessions/{session['id']}"),
    )
    assert deleted.status_code == 204
    assert kernel.status_code in (204, 404)
    assert await client.kernels() == []
