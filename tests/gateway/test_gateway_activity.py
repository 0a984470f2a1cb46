"""`/_api/activity` and culling on the gateway: an open tab is no activity, and what a user runs is."""

from __future__ import annotations

from typing import Any

import pytest
import websockets

from ..support.client import Client
from ..support.gateways import Begin, Gateway

MOVED = ("last_message_to_client", "last_message_to_kernel", "last_time_state_changed")


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    manager = "--MappingKernelManager."
    return begin_shared(f"{manager}cull_idle_timeout=3", f"{manager}cull_interval=1", f"{manager}cull_connected=True")


async def activity(client: Client, kernel_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.http.get("/_api/activity")).json()[kernel_id]
    return {name: found[name] for name in MOVED}


async def test_activity_is_moved_by_work_alone(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as socket:
            await socket.run("stream('x')")
            before = await activity(client, kernel_id)
            for msg_type in ("kernel_info_request", "comm_info_request", "complete_request"):
                await socket.answers(await socket.send(msg_type, {"code": "", "cursor_pos": 0}))
            assert await activity(client, kernel_id) == before
            await socket.run("stream('x')")
            after = await activity(client, kernel_id)
            assert all(after[name] > before[name] for name in MOVED)


async def test_a_tab_that_asks_is_culled(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        socket = await client.connect(kernel_id, v1=False)
        code = None
        while code is None:
            try:
                await socket.answers(await socket.send("kernel_info_request", {}))
            except websockets.ConnectionClosed as exc:
                code = exc.rcvd.code if exc.rcvd else 0
        assert code == 1000
