"""Who may have cells of shared documents executed by a Jupyter Server, and which server does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest

from ..support.client import Client
from ..support.collaboration import begin_collaborating, collaboration_venv
from ..support.documents import Desk
from ..support.outputs import stream
from ..support.servers import options
from ..support.stock import BeginStock

pytestmark = pytest.mark.timeout(1200)  # with the installation of the venv

EXECUTES = "fps_kernels executes cells of shared documents"


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collaboration_venv(tmp_path_factory)


@pytest.fixture
async def begin(venv: Path, tmp_path: Path) -> AsyncIterator[BeginStock]:
    """Servers of the test's own, with shared documents."""
    with begin_collaborating(venv, tmp_path) as begin:
        yield begin


def url(kernel_id: str, path: str) -> str:
    return f"/api/kernels/{kernel_id}/{path}"


def module(folder: Path, name: str, code: str) -> dict[str, str]:
    """Write a module; returns the environment in which it is found."""
    (folder / f"{name}.py").write_text(dedent(code))
    return {"PYTHONPATH": str(folder)}


async def test_who_may_not_execute_on_kernels_may_not_have_cells_executed(begin: BeginStock, tmp_path: Path) -> None:
    env = module(
        tmp_path,
        "their_authorizer",
        """
        from jupyter_server.auth import Authorizer

        class NoExecution(Authorizer):
            def is_authorized(self, handler, user, action, resource):
                return (action, resource) != ("execute", "kernels")
        """,
    )
    server = begin("--ServerApp.authorizer_class=their_authorizer.NoExecution", env=env)
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a="stream('never')")
        before = doc.cell("a")
        assert (await doc.post(cell_id="a")).status_code == 403
        answer = await client.http.post(url(doc.kernel_id, "requests/none/input"), json={"value": "x"})
        assert answer.status_code == 403
        for method in ("PUT", "DELETE"):
            assert (await client.http.request(method, url(doc.kernel_id, "stdin/mine"))).status_code == 403
        assert (await client.http.get(url(doc.kernel_id, "requests/none"))).status_code == 404  # this is reading
        await doc.heard()
        assert doc.cell("a") == before


async def test_who_may_not_read_kernels_is_told_nothing_of_requests(begin: BeginStock, tmp_path: Path) -> None:
    env = module(
        tmp_path,
        "their_authorizer",
        """
        from jupyter_server.auth import Authorizer

        class NoKernels(Authorizer):
            def is_authorized(self, handler, user, action, resource):
                return resource != "kernels"
        """,
    )
    server = begin("--ServerApp.authorizer_class=their_authorizer.NoKernels", env=env)
    async with Client(server.url) as client:
        assert (await client.http.get(url("none", "requests/none"))).status_code == 403


async def test_a_stranger_is_refused_and_a_token_lets_in(begin: BeginStock) -> None:
    server = begin("--IdentityProvider.token=secret", open_to_all=False)
    headers = {"Authorization": "token secret"}
    for method, path in (
        ("POST", "execute"),
        ("GET", "requests/none"),
        ("POST", "requests/none/input"),
        ("PUT", "stdin/mine"),
        ("DELETE", "stdin/mine"),
    ):
        async with Client(server.url) as client:  # one of its own: who has shown the token gets a cookie
            response = await client.http.request(method, url("none", path), content=b"{}")
            assert response.status_code == 403, path
            response = await client.http.request(method, url("none", path), content=b"{}", headers=headers)
            assert response.status_code == 404, path
            assert response.json() == {"message": "Kernel does not exist: none", "reason": "Not Found"}


async def test_a_page_of_another_site_cannot_execute(begin: BeginStock) -> None:
    """As everywhere on the server: who is let in without a token has to know a cookie of it."""
    server = begin("--IdentityProvider.token=", open_to_all=False)
    async with Client(server.url) as client:
        refused = await client.http.post(url("none", "execute"), json={"cell_id": "a"})
        assert refused.status_code == 403
        assert "_xsrf" in refused.json()["message"]
        cookie = {"Cookie": "_xsrf=known", "X-XSRFToken": "known"}
        assert (await client.http.post(url("none", "execute"), json={}, headers=cookie)).status_code == 404


async def test_who_can_answer_is_told_apart_by_user(begin: BeginStock, tmp_path: Path) -> None:
    env = module(
        tmp_path,
        "their_provider",
        """
        from jupyter_server.auth.identity import IdentityProvider, User

        class Named(IdentityProvider):
            def get_user(self, handler):
                return User(handler.request.headers.get("X-User", "ada"))
        """,
    )
    server = begin("--ServerApp.identity_provider_class=their_provider.Named", env=env)
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a="stream(str(request['content']['allow_stdin']))")
        for method, user in (("PUT", "ada"), ("DELETE", "bob")):
            await client.http.request(method, url(doc.kernel_id, "stdin/mine"), headers={"X-User": user})
        await doc.run("a")
        assert doc.text("a") == "True"
        await client.http.delete(url(doc.kernel_id, "stdin/mine"), headers={"X-User": "ada"})
        await doc.run("a")
        assert doc.text("a") == "False"


async def test_the_base_url_counts(begin: BeginStock) -> None:
    server = begin("--ServerApp.base_url=/deep/")
    server.url += "/deep"
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a="stream('here')")
        await doc.run("a")
        assert doc.text("a") == "here"


async def test_cells_wait_for_a_kernel_that_starts(begin: BeginStock) -> None:
    server = begin(*options(start_answer_s=0))
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        gate = server.root / "gate"
        kernel_id = await client.start("tiny_slow", env={"KERNEL_GATE": str(gate)})
        doc = await desk.open(kernel=kernel_id, a="stream('a')", b="stream('b')")
        await doc.execute("a", "b")
        assert (await client.kernel(doc.kernel_id))["execution_state"] == "starting"
        gate.touch()
        await doc.ended("a", "b")
        assert [(doc.text(cell_id), doc.count(cell_id)) for cell_id in "ab"] == [("a", 1), ("b", 2)]


async def test_what_was_put_out_is_saved_when_the_server_ends(begin: BeginStock) -> None:
    server = begin("--YDocExtension.document_save_delay=3600")
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a=f"stream('on')\n{desk.gate().code}")
        await doc.execute("a")
        await doc.until(lambda: doc.text("a") == "on")
        server.process.terminate()
        await doc.saved("a", lambda cell: cell["outputs"][:1] == [stream("on")])
        server.process.kill()  # jupyter-collaboration 5.0 leaves a thread that does not end while a page is open


async def test_documents_that_their_owner_never_saves_are_left_alone(begin: BeginStock) -> None:
    server = begin("--YDocExtension.document_save_delay=None")
    async with Client(server.url) as client, Desk(client, server.root) as desk:
        doc = await desk.open(a="stream('on')")
        before = doc.path.read_bytes()
        await doc.run("a")
        await doc.close()
        server.stop()
        assert doc.path.read_bytes() == before


@pytest.mark.parametrize("name", ["jupyter_server_documents", "jupyter_server_nbmodel"])
async def test_an_extension_that_executes_cells_too_keeps_its_routes(
    begin: BeginStock, tmp_path: Path, name: str
) -> None:
    env = module(
        tmp_path,
        name,
        f"""
        from jupyter_server.base.handlers import APIHandler
        from tornado import web

        class Execute(APIHandler):
            @web.authenticated
            def post(self, kernel_id):
                self.finish("theirs")

        def _jupyter_server_extension_points():
            return [{{"module": "{name}"}}]

        def _load_jupyter_server_extension(serverapp):
            serverapp.web_app.add_handlers(".*$", [("/api/kernels/([^/]+)/execute", Execute)])
        """,
    )
    server = begin(f"--ServerApp.jpserver_extensions={{'{name}': True, 'jupyterlab': False}}", env=env)
    log = server.log.read_text()
    assert f"fps_kernels does not execute cells of shared documents: {name} does" in log
    assert EXECUTES not in log
    async with Client(server.url) as client:
        kernel_id = await client.start()
        assert (await client.http.post(url(kernel_id, "execute"), json={"cell_id": "a"})).text == "theirs"
        assert (await client.http.put(url(kernel_id, "stdin/mine"))).status_code == 404


async def test_documents_that_failed_to_load_are_not_available(begin: BeginStock, tmp_path: Path) -> None:
    env = module(
        tmp_path,
        "jupyter_server_ydoc",
        """
        def _jupyter_server_extension_points():
            return [{"module": "jupyter_server_ydoc"}]

        def _load_jupyter_server_extension(serverapp):
            raise RuntimeError("broken")
        """,
    )
    server = begin(env=env)
    async with Client(server.url) as client:
        kernel_id = await client.start()
        response = await client.http.post(url(kernel_id, "execute"), json={"cell_id": "a"})
        assert response.status_code == 501
        assert "no shared documents" in response.json()["message"]
        assert (await client.http.put(url(kernel_id, "stdin/mine"))).status_code == 501


async def test_without_shared_documents_there_are_no_routes(begin: BeginStock) -> None:
    server = begin("--ServerApp.jpserver_extensions={'jupyter_server_ydoc': False, 'jupyterlab': False}")
    assert "shared documents" not in server.log.read_text()
    async with Client(server.url) as client:
        kernel_id = await client.start()
        response = await client.http.post(url(kernel_id, "execute"), json={"cell_id": "a"})
        assert response.status_code == 404
        assert "No such" not in response.text
