"""What users may do who may not do everything: sessions, kernels, and cells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ..support.client import Client
from ..support.externals import ExternalKernel
from ..support.messages import Json, text_of
from ..support.servers import Server, options
from ..support.users import UserClient, server_of

USERS = {
    "owner": {"kernels": ["read", "write", "execute"], "sessions": ["read", "write"]},
    "clerk": {"sessions": ["read", "write"]},
    "operator": {"kernels": ["read", "write"], "sessions": ["read"]},
    "runner": {"kernels": ["read", "execute"]},
    "reader": {"kernels": ["read"], "sessions": ["read"]},
}


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("users")
    server = server_of(
        base, USERS, *options(allow_external_kernels=True, external_connection_dir=str(base / "external"))
    )
    yield server
    server.stop()


@pytest.fixture
async def owner(users: Server) -> AsyncIterator[UserClient]:
    async with UserClient(users.url, "owner") as client:
        yield client
        for kind in ("sessions", "kernels"):
            for model in (await client.http.get(f"/api/{kind}")).json():
                await client.http.delete(f"/api/{kind}/{model['id']}")


@pytest.fixture
async def clerk(users: Server) -> AsyncIterator[UserClient]:
    async with UserClient(users.url, "clerk") as client:
        yield client


async def kernel_ids(client: Client) -> set[str]:
    return {model["id"] for model in await client.kernels()}


# --- sessions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kernel",
    [
        {"name": "tiny_plain"},
        {},
        None,
        {"id": "of the owner"},
        {"id": "of the owner", "name": "tiny_plain"},
        {"id": "new", "name": "x"},
    ],
    ids=str,
)
async def test_who_may_only_write_sessions_neither_starts_nor_gets_a_kernel(
    owner: UserClient, clerk: UserClient, kernel: dict[str, str] | None
) -> None:
    kernel_id = await owner.start()
    if kernel is not None and kernel.get("id") == "of the owner":
        kernel = kernel | {"id": kernel_id}
    body = {"path": "x", "type": "x"} | ({} if kernel is None else {"kernel": kernel})
    response = await clerk.http.post("/api/sessions", json=body)
    assert response.status_code == 403
    assert "kernels: write" in response.json()["message"]
    assert await kernel_ids(owner) == {kernel_id}
    assert (await owner.http.get("/api/sessions")).json() == []


async def test_who_may_only_write_sessions_does_not_end_a_kernel_with_its_session(
    owner: UserClient, clerk: UserClient
) -> None:
    session = await owner.start_session()
    response = await clerk.http.delete(f"/api/sessions/{session['id']}")
    assert response.status_code == 403
    assert "kernels: write" in response.json()["message"]
    assert await kernel_ids(owner) == {session["kernel"]["id"]}
    assert (await owner.http.get(f"/api/sessions/{session['id']}")).status_code == 200
    assert (await owner.http.delete(f"/api/sessions/{session['id']}")).status_code == 204
    assert await kernel_ids(owner) == set()


async def test_a_session_that_shares_its_kernel_may_be_deleted(owner: UserClient, clerk: UserClient) -> None:
    first = await owner.start_session("a.ipynb")
    second = await owner.start_session("b.ipynb", kernel={"id": first["kernel"]["id"]})
    assert (await clerk.http.delete(f"/api/sessions/{first['id']}")).status_code == 204
    assert (await clerk.http.delete(f"/api/sessions/{second['id']}")).status_code == 403
    assert await kernel_ids(owner) == {first["kernel"]["id"]}


async def test_a_session_of_a_kernel_that_does_not_end_with_it_may_be_deleted(
    users: Server, tmp_path, owner: UserClient, clerk: UserClient
) -> None:
    kernel = ExternalKernel(tmp_path)
    shown = kernel.show(users.root.parent / "external")
    try:
        [model] = await owner.until(lambda kernels: len(kernels) == 1)
        session = await owner.start_session(kernel={"id": model["id"]})
        assert (await clerk.http.delete(f"/api/sessions/{session['id']}")).status_code == 204
        assert await owner.evaluate(model["id"], "1 + 1") == "2"
    finally:
        shown.unlink()
        kernel.stop()
        await owner.until(lambda kernels: kernels == [])


@pytest.mark.parametrize(
    "kernel", [{"name": "tiny_plain"}, {"id": "another"}, {"id": "another", "name": "tiny_plain"}], ids=str
)
async def test_who_may_only_write_sessions_does_not_replace_a_kernel(
    owner: UserClient, clerk: UserClient, kernel: dict[str, str]
) -> None:
    session = await owner.start_session()
    another = await owner.start()
    if "id" in kernel:
        kernel = kernel | {"id": another}
    response = await clerk.http.patch(f"/api/sessions/{session['id']}", json={"kernel": kernel, "path": "moved"})
    assert response.status_code == 403
    assert "kernels: write" in response.json()["message"]
    assert (await owner.http.get(f"/api/sessions/{session['id']}")).json()["path"] == session["path"]
    assert await kernel_ids(owner) == {session["kernel"]["id"], another}


async def test_who_may_only_write_sessions_may_rename_them(owner: UserClient, clerk: UserClient) -> None:
    session = await owner.start_session()
    bodies: list[Json] = [{"path": "b.ipynb"}, {"name": "b", "kernel": {"id": session["kernel"]["id"]}}, {"kernel": {}}]
    for body in bodies:
        response = await clerk.http.patch(f"/api/sessions/{session['id']}", json=body)
        assert response.status_code == 200, response.text
    assert (response.json()["path"], response.json()["name"]) == ("b.ipynb", "b")
    assert response.json()["kernel"]["id"] == session["kernel"]["id"]


async def test_a_session_that_is_there_is_shown(owner: UserClient, clerk: UserClient) -> None:
    session = await owner.start_session("a.ipynb")
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "tiny_plain"}}
    response = await clerk.http.post("/api/sessions", json=body)
    assert response.status_code == 201
    assert response.json()["id"] == session["id"]
    assert await kernel_ids(owner) == {session["kernel"]["id"]}


# --- kernels and cells ----------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["runner", "reader", "clerk"])
async def test_kernels_are_ended_and_interrupted_by_who_may_write_them(
    users: Server, owner: UserClient, user: str
) -> None:
    kernel_id = await owner.start()
    async with UserClient(users.url, user) as client:
        for method, path in (
            ("POST", "/api/kernels"),
            ("DELETE", f"/api/kernels/{kernel_id}"),
            ("POST", f"/api/kernels/{kernel_id}/interrupt"),
            ("POST", f"/api/kernels/{kernel_id}/restart"),
        ):
            assert (await client.http.request(method, path)).status_code == 403
    assert await owner.evaluate(kernel_id, "1 + 1") == "2"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "execute"), ("POST", "requests/1/input"), ("PUT", "stdin/me"), ("DELETE", "stdin/me")],
)
async def test_running_cells_needs_execute_and_not_write(
    users: Server, owner: UserClient, method: str, path: str
) -> None:
    kernel_id = await owner.start()
    statuses = {}
    for user in ("runner", "operator", "reader"):
        async with UserClient(users.url, user) as client:
            response = await client.http.request(method, f"/api/kernels/{kernel_id}/{path}", json={})
            statuses[user] = response.status_code
    assert statuses == {"runner": 501, "operator": 403, "reader": 403}  # there are no shared documents here


async def test_a_websocket_runs_cells_of_who_may_execute(users: Server, owner: UserClient) -> None:
    kernel_id = await owner.start()
    async with UserClient(users.url, "runner") as runner, await runner.connect(kernel_id) as socket:
        assert text_of(await socket.run("stream('x')")) == "x"
    async with UserClient(users.url, "reader") as reader, await reader.connect(kernel_id) as socket:
        answers = await socket.run("stream('x')")
        [reply] = [message for message in answers if message["channel"] == "shell"]
        assert reply["content"]["ename"] == "Forbidden"
