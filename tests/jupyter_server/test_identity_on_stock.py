"""The tests of what clients choose, on a stock Jupyter Server whose identity provider tells users apart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ..server import test_identity
from ..server.test_identity import *  # noqa: F403
from ..support.client import Client
from ..support.messages import text_of
from ..support.servers import options
from ..support.stock import BeginStock, StockServer
from ..support.users import UserClient
from .conftest import READY

ELSEWHERE = [
    "test_a_named_user_leaves_room_for_others",  # a server of its own
    "test_a_kernel_has_room_for_so_many_clients",
    "test_the_servers_own_session_is_not_for_clients",
]
for name in ELSEWHERE:
    del globals()[name]

PROVIDER = """
from jupyter_server.auth.identity import IdentityProvider, User

class Named(IdentityProvider):
    def get_user(self, handler):
        name = handler.request.headers.get("X-User")
        return User(name) if name else super().get_user(handler)
"""
NAMED = "--ServerApp.identity_provider_class=their_provider.Named"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the provider is found."""
    folder = tmp_path_factory.mktemp("provider")
    (folder / "their_provider.py").write_text(PROVIDER)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def users(begin_shared: BeginStock, provider: dict[str, str]) -> StockServer:
    """As there; all may do everything."""
    return begin_shared(*READY, NAMED, env=provider)


async def test_a_named_user_has_half_of_the_room(begin: BeginStock, provider: dict[str, str]) -> None:
    server = begin(*READY, *options(max_clients_per_kernel=4), NAMED, env=provider)
    async with UserClient(server.url, "ada") as ada, UserClient(server.url, "bob") as bob:
        kernel_id = await ada.start()
        crowd = [await bob.connect(kernel_id) for _ in range(2)]
        with pytest.raises(Exception, match="503"):
            await bob.connect(kernel_id)
        async with await ada.connect(kernel_id) as socket:
            assert text_of(await socket.run("stream('x')")) == "x"
        await asyncio.gather(*(one.ws.close() for one in crowd))


TOKEN = {"Authorization": "token shared"}


@pytest.mark.parametrize(
    "options",
    [
        ["--IdentityProvider.token=shared"],
        ["--PasswordIdentityProvider.token=shared"],
        [
            "--IdentityProvider.token=shared",
            "--ServerApp.login_handler_class=jupyter_server.auth.login.LegacyLoginHandler",
        ],
        ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"],
        ["--IdentityProvider.token=shared", NAMED],
    ],
    ids=["token", "password's token", "legacy", "open", "named, but not here"],
)
async def test_clients_with_one_token_are_one_user(
    begin: BeginStock, tmp_path: Path, provider: dict[str, str], options: list[str]
) -> None:
    """Each of their requests has another made-up user, as they keep no cookies."""
    server = begin(*READY, *options, open_to_all=False, env=provider)
    end = tmp_path / "end"
    async with Client(server.url) as client:
        client.http.headers.update(TOKEN)
        kernel_id = await client.start()

        def connect(session: str | None = None) -> Any:
            return client.connect(kernel_id, session=session, additional_headers=TOKEN)

        socket = await connect()
        head = await test_identity.begin(socket, test_identity.WAIT.format(path=str(end)))
        await socket.ws.close()
        end.touch()
        async with await connect(socket.session) as again:
            assert text_of(await again.answers(head["msg_id"])) == "off"
            async with await connect(socket.session) as other:
                code, reason = await again.closed()
                assert (code, "replaced" in reason) == (1000, True)
                assert text_of(await other.run("stream('x')")) == "x"
