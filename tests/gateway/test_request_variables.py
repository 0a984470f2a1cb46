"""Environment variables that a request sets: what a provisioner could stumble over never gets that far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ..support.client import Client
from ..support.gateways import Begin, Gateway, option

HOSTILE = ["$(id)", "a\nb", "{{ x }}", "'; id; '", "`id`", "a|b", "\x1b[2J"]


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    return begin_shared(
        option("default_kernel_name", "tiny_plain"), "--JupyterWebsocketPersonality.env_whitelist=LISTED"
    )


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with Client(gateway.url) as client:
        yield client


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["KERNEL_USERNAME", "KERNEL_ANY", "LISTED"])
async def test_an_unsafe_value_starts_nothing(gateway: Gateway, client: Client, name: str, value: str) -> None:
    response = await client.http.post("/api/kernels", json={"env": {"KERNEL_OK": "x", name: value}})
    assert response.status_code == 400
    message = response.json()["message"]
    assert f"env.{name} " in message
    assert "kernel_env_pattern" in message
    assert gateway.kernel_processes() == []


@pytest.mark.parametrize(
    "env",
    [
        {"KERNEL_A B": "x"},
        {"KERNEL_;id;": "x"},
        {"KERNEL_A\n": "x"},
        {"KERNEL_": "x"},
        {f"KERNEL_{number}": "x" for number in range(300)},
        {f"KERNEL_{number}": "x" * 60_000 for number in range(6)},
    ],
)
async def test_names_number_and_size(gateway: Gateway, client: Client, env: dict[str, Any]) -> None:
    response = await client.http.post("/api/kernels", json={"env": env})
    assert response.status_code == 400
    assert "env" in response.json()["message"]
    assert gateway.kernel_processes() == []


async def test_variables_that_no_kernel_gets_are_no_reason_to_refuse(client: Client) -> None:
    """Clients send their whole environment."""
    kernel_id = await client.start(env={"PS1": "\x1b[1m$(whoami)\n", "PATH": "a;b", "KERNEL_OK": "ü (1)"})
    assert await client.evaluate(kernel_id, "os.environ['KERNEL_OK']") == "ü (1)"
    await client.http.delete(f"/api/kernels/{kernel_id}")


async def test_the_option_widens_it(begin: Begin) -> None:
    gateway = begin(option("default_kernel_name", "tiny_plain"), env={"KG_KERNEL_ENV_PATTERN": r"[^\n]*"})
    async with Client(gateway.url) as client:
        volumes = '[{"name": "a"}]'
        kernel_id = await client.start(env={"KERNEL_VOLUMES": volumes})
        assert await client.evaluate(kernel_id, "os.environ['KERNEL_VOLUMES']") == volumes
        response = await client.http.post("/api/kernels", json={"env": {"KERNEL_VOLUMES": "a\nb"}})
        assert response.status_code == 400


def test_a_wrong_pattern_ends_the_command_with_one_line(begin: Begin) -> None:
    gateway = begin(option("kernel_env_pattern", "["), ready=False)
    assert gateway.wait_end() == 1
    [line] = gateway.log.splitlines()
    assert line.startswith("fps-kernels: kernel_env_pattern=[: not a regular expression")
