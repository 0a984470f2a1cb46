"""Gateways of two versions on one keeper, of either version."""

from __future__ import annotations

import asyncio
import re

import pytest

from ..support.client import Client
from ..support.kept_gateways import KeptGateways
from ..support.versions import OTHER, install, older_revision


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The command of the older and of this version."""
    folder = tmp_path_factory.mktemp("versions")
    revision = older_revision()
    return {
        "older": install(folder / "older", revision, OTHER),
        "this": install(folder / "this", None),
    }


@pytest.mark.parametrize(("first", "second"), [("older", "this"), ("this", "older")])
async def test_a_gateway_of_another_version_has_the_kernels(
    kept_gateways: KeptGateways, programs: dict[str, str], first: str, second: str
) -> None:
    gateway = kept_gateways.begin(program=programs[first])
    async with Client(gateway.url) as client:
        session = await client.start_session("a.ipynb")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
    process, keeper = gateway.process_of(kernel_id), kept_gateways.keeper()
    version = keeper_version(kept_gateways)
    assert (version == OTHER) == (first == "older")
    for program in (second, first, second):
        kept_gateways.kill(gateway)
        gateway = kept_gateways.begin(program=programs[program])
        async with Client(gateway.url) as client:
            [again] = (await client.http.get("/api/sessions")).json()
            assert (again["id"], again["kernel"]["id"]) == (session["id"], kernel_id)
            assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
    assert kept_gateways.keeper() == keeper
    assert keeper_version(kept_gateways) == version


async def test_the_keeper_becomes_the_version_of_the_command(
    kept_gateways: KeptGateways, programs: dict[str, str]
) -> None:
    gateway = kept_gateways.begin(program=programs["older"])
    keeper = kept_gateways.keeper()
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
        # A tree from before there was such a call says so.
        says = "restart" in kept_gateways.command("keeper", "--help", program=programs["older"])
        words = ("keeper", "restart")
        said = await asyncio.to_thread(kept_gateways.command, *words, program=programs["this"], code=0 if says else 1)
        if not says:
            assert f"is of {OTHER}, which cannot be replaced while it runs" in said
        assert (keeper_version(kept_gateways) == OTHER) != says
        assert kept_gateways.keeper() == keeper
        assert await client.evaluate(kernel_id, "x") == "41"


def keeper_version(kept_gateways: KeptGateways) -> str:
    """The version of the keeper that runs, as it says itself."""
    found = re.search(r"version (\S+), pid", kept_gateways.command("keeper", "status"))
    assert found is not None
    return found[1]
