"""A gateway that is killed, or stopped for a while, in the middle of what it does to a kernel that outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import httpx
import pytest

from ..support.client import Client
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.messages import is_end_of, text_of
from ..support.waits import until

PHASES = (0.0, 0.02, 0.1, 0.3)
"""Seconds after which it is killed: before the kernel has ended, between its processes, and after the launch."""


async def answer_lost(answer: asyncio.Task[httpx.Response]) -> None:
    """Wait for the end of a request whose server was killed, unless it was quicker."""
    with contextlib.suppress(httpx.HTTPError):
        await answer


@pytest.mark.parametrize("after_s", PHASES)
async def test_in_a_post_the_kernel_goes_on_or_nothing_is_left(kept_gateways: KeptGateways, after_s: float) -> None:
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        post = asyncio.create_task(client.http.post("/api/kernels", json={"name": "tiny_slow"}))
        await asyncio.sleep(after_s)
        kept_gateways.note_processes()
        kept_gateways.kill(gateway)
        await answer_lost(post)
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        found = await client.kernels()
        for kernel in found:
            assert await client.evaluate(kernel["id"], "6 * 7") == "42"
        await until(lambda: len(gateway.kernel_processes()) == len(gateway.connection_files()) == len(found))
        assert await client.evaluate(await client.start(), "6 * 7") == "42"


@pytest.mark.parametrize("after_s", PHASES)
@pytest.mark.parametrize("name", ["tiny_plain", "tiny_ignores_sigterm"])
async def test_in_a_restart_the_kernel_is_there_with_one_process(
    kept_gateways: KeptGateways, name: str, after_s: float
) -> None:
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        session = await client.start_session("a.ipynb", name)
        kernel_id = session["kernel"]["id"]
        restart = asyncio.create_task(client.http.post(f"/api/kernels/{kernel_id}/restart"))
        await asyncio.sleep(after_s)
        kept_gateways.note_processes()
        kept_gateways.kill(gateway)
        await answer_lost(restart)
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        [again] = (await client.http.get("/api/sessions")).json()
        assert (again["id"], again["kernel"]["id"]) == (session["id"], kernel_id)
        (await client.http.post(f"/api/kernels/{kernel_id}/restart")).raise_for_status()  # whatever state it is in
        assert await client.evaluate(kernel_id, "6 * 7") == "42"
        assert len(gateway.kernel_processes()) == 1


@pytest.mark.parametrize("after_s", PHASES)
async def test_in_a_delete_nothing_is_left(kept_gateways: KeptGateways, after_s: float) -> None:
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        kernel_id = await client.start("tiny_ignores_sigterm")
        delete = asyncio.create_task(client.http.delete(f"/api/kernels/{kernel_id}"))
        await asyncio.sleep(after_s)
        kept_gateways.note_processes()
        kept_gateways.kill(gateway)
        await answer_lost(delete)
    gateway = kept_gateways.begin()
    async with Client(gateway.url) as client:
        if kernels := await client.kernels():  # the request had not come
            assert [kernel["id"] for kernel in kernels] == [kernel_id]
            assert await client.evaluate(kernel_id, "6 * 7") == "42"
            (await client.http.delete(f"/api/kernels/{kernel_id}")).raise_for_status()
    await until(lambda: not gateway.kernel_processes())
    assert not gateway.connection_files()
    assert "0 kernels" in kept_gateways.command("keeper", "status")


async def test_one_that_was_stopped_for_long_has_its_kernels_again_and_loses_no_line(
    kept_gateways: KeptGateways,
) -> None:
    """Its keeper has given it up then, as one that is dead."""
    gateway = kept_gateways.begin()
    lines = 2_000
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        process = gateway.process_of(kernel_id)
        async with await client.connect(kernel_id) as socket:
            code = f"import time\nfor n in range({lines}):\n    stream(str(n) + '\\n')\n    time.sleep(0.001)"
            msg_id = await socket.execute(code)
            heard = await socket.until(lambda one: one["msg_type"] == "stream")
            gateway.process.send_signal(signal.SIGSTOP)
            log = kept_gateways.state / "keeper.log"
            await until(lambda: "nothing was heard for" in log.read_text() or "is gone" in log.read_text())
            gateway.process.send_signal(signal.SIGCONT)
            heard += await socket.until(is_end_of(msg_id))
            assert text_of(heard).splitlines() == [str(n) for n in range(lines)]
            assert text_of(await socket.run("stream('well')")) == "well"
    assert is_running(process)
    assert "the keeper is connected again" in gateway.log
