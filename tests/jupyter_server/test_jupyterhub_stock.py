"""Servers of JupyterHub's users, whose kernels are ours: through the hub's proxy, with the hub's tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import websockets

from ..support.client import Client, Socket
from ..support.hubs import Hub, HubPrograms, hub_programs, hubs
from ..support.messages import text_of
from ..support.waits import until

pytestmark = pytest.mark.timeout(1200)  # it installs, and starts servers one after the other

KINDS = pytest.mark.parametrize("kind", ["extension", "mixin"])
"""The two kinds of servers that JupyterHub has for a user: an extension of Jupyter Server, and the one before that."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> HubPrograms:
    return hub_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, programs: HubPrograms) -> Iterator[Hub]:
    with hubs(tmp_path_factory.mktemp("hub"), programs) as hub:
        yield hub


async def connect(client: Client, kernel_id: str) -> Socket:
    headers = {"Authorization": client.http.headers["Authorization"]}
    return await client.connect(kernel_id, additional_headers=headers)


@KINDS
async def test_a_users_cells_run_and_nobody_elses(hub: Hub, kind: str) -> None:
    token, strangers = await hub.token(kind), await hub.token("stranger")
    said = hub.log.read_text().count("runs the kernels")
    await hub.start_server(kind)
    assert hub.log.read_text().count("runs the kernels") == said + 1
    async with hub.client(kind, token) as client:
        # Nothing is kept ready: a hub's users have a server each, most of which are idle.
        assert hub.kernel_processes() == []
        kernel_id = await client.start()
        async with await connect(client, kernel_id) as socket:
            assert text_of(await socket.run("import os; stream(os.environ['HOME'])")) == f"{hub.base}/homes/{kind}"
        async with hub.client(kind, strangers) as stranger:
            assert (await stranger.http.get("/api/kernels")).status_code == 403
            assert (await stranger.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 403
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(stranger, kernel_id)
            assert refused.value.response.status_code == 403
        assert len(hub.kernel_processes()) == 1

        before = (await hub.user(kind))["servers"][""]["last_activity"]
        async with await connect(client, kernel_id) as socket:
            await socket.run("stream('active')")
        active = (await client.kernel(kernel_id))["last_activity"]

        async def is_reported() -> bool:
            return (await hub.user(kind))["servers"][""]["last_activity"] >= active

        assert before < active
        await until(is_reported, 120, every_s=0.2)
    await hub.stop_server(kind)
    await until(lambda: not hub.kernel_processes())
