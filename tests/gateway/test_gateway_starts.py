"""When the gateway answers a request for a kernel: a program's when it is ready, a person's at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ..support.client import Client, tidy_client
from ..support.gateways import Begin, Gateway, option

LIST = "--JupyterWebsocketPersonality.list_kernels=True"


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    """One that would wait for a kernel for an hour."""
    return begin_shared(LIST, option("start_answer_s", 3_600), option("restart_answer_s", 0))


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with tidy_client(gateway) as client:
        yield client


@pytest.mark.parametrize(
    "env", [{}, {"KERNEL_LAUNCH_TIMEOUT": "40"}, {"KERNEL_WORKING_DIR": "/tmp"}], ids=["none", "timeout", "folder"]
)
async def test_a_program_gets_a_kernel_that_is_ready(client: Client, env: dict[str, str]) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_slow", "env": env})
    assert (response.status_code, response.json()["execution_state"]) == (201, "idle")


async def test_a_program_is_told_why_a_start_fails(client: Client) -> None:
    response = await client.http.post("/api/kernels", json={"name": "tiny_exits"})
    assert response.status_code == 500
    assert "exited with code 3" in response.json()["message"]
    assert await client.kernels() == []


@pytest.mark.parametrize(
    ("headers", "env"),
    [
        ({"Sec-Fetch-Mode": "cors"}, {}),
        ({"Origin": "{url}"}, {}),
        ({}, {"KERNEL_LAUNCH_TIMEOUT": "40", "KERNEL_WORKING_DIR": "/tmp"}),
    ],
    ids=["page", "page with an origin", "Jupyter server"],
)
async def test_a_person_is_answered_at_once(client: Client, headers: dict[str, str], env: dict[str, str]) -> None:
    headers = {name: value.format(url=client.url) for name, value in headers.items()}
    response = await client.http.post("/api/kernels", json={"name": "tiny_silent", "env": env}, headers=headers)
    assert (response.status_code, response.json()["execution_state"]) == (201, "starting")


async def test_a_session_is_answered_at_once(client: Client) -> None:
    session = await client.start_session(name="tiny_silent")
    assert session["kernel"]["execution_state"] == "starting"
    changed = await client.http.patch(f"/api/sessions/{session['id']}", json={"kernel": {"name": "tiny_silent"}})
    assert (changed.status_code, changed.json()["kernel"]["execution_state"]) == (200, "starting")


async def test_a_restart_is_answered_before_it_is_over(client: Client) -> None:
    kernel_id = await client.start("tiny_slow")
    response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
    assert (response.status_code, response.json()["execution_state"]) == (200, "restarting")
    await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")


@pytest.mark.parametrize("name", ["start_answer_s", "restart_answer_s"])
@pytest.mark.parametrize("value", [-1, "soon"])
def test_a_wrong_time_ends_the_command_with_one_line(begin: Begin, name: str, value: Any) -> None:
    gateway = begin(option(name, value), ready=False)
    assert gateway.process.wait(60) != 0
    assert name in gateway.log
    assert "Traceback" not in gateway.log
