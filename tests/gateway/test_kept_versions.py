"""Gateways of two versions on one keeper, of either version."""

from __future__ import annotations

import asyncio
import re

import pytest

from fps_kernels import __version__
from fps_kernels.keeper.keeper_wire import PROTOCOL

from ..support.client import Client
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways
from ..support.versions import OTHER, install, older_revision

NEXT, LATER = "0.0.2", "0.0.3"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The commands of versions: the older one, this one, and later ones, of which each speaks two protocols: its own,
    and the one before."""
    folder = tmp_path_factory.mktemp("versions")
    revision = older_revision()
    return {
        "older": install(folder / "older", revision, OTHER),
        "this": install(folder / "this", None),
        "next": install(folder / "next", None, NEXT, (PROTOCOL + 1, PROTOCOL)),
        "later": install(folder / "later", None, LATER, (PROTOCOL + 2, PROTOCOL + 1)),
    }


VERSIONS = {"older": OTHER, "this": __version__, "next": NEXT}


@pytest.mark.parametrize(
    ("first", "second"), [("older", "this"), ("this", "older"), ("this", "next"), ("next", "this"), ("next", "later")]
)
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
    assert version == VERSIONS[first]
    for program in (second, first, second):
        kept_gateways.kill(gateway)
        gateway = kept_gateways.begin(program=programs[program])
        async with Client(gateway.url) as client:
            [again] = (await client.http.get("/api/sessions")).json()
            assert (again["id"], again["kernel"]["id"]) == (session["id"], kernel_id)
            assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
    assert kept_gateways.keeper() == keeper
    assert keeper_version(kept_gateways) == version


async def test_a_version_without_a_common_protocol_leaves_the_kernels_alone(
    kept_gateways: KeptGateways, programs: dict[str, str]
) -> None:
    gateway = kept_gateways.begin(program=programs["this"])
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
    process, keeper = gateway.process_of(kernel_id), kept_gateways.keeper()
    kept_gateways.kill(gateway)
    later = kept_gateways.begin(program=programs["later"], ready=False)
    assert await asyncio.to_thread(later.process.wait, 30) == 1
    [said] = [line for line in later.log.splitlines() if "The keeper" in line]
    here, there = f"protocol {PROTOCOL}", f"protocols {PROTOCOL + 1} to {PROTOCOL + 2}"
    assert f"is of {__version__}, holds 1 kernel, and has {here}; this is {LATER}, with {there}" in said
    assert "keeper stop" in said
    for word in ("restart", "status"):
        refused = await asyncio.to_thread(kept_gateways.command, "keeper", word, program=programs["later"], code=1)
        assert "holds 1 kernel" in refused
    gateway = kept_gateways.begin(program=programs["this"])
    async with Client(gateway.url) as client:
        assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
    kept_gateways.kill(gateway)
    said = await asyncio.to_thread(kept_gateways.command, "keeper", "stop", program=programs["later"])
    assert "has ended, with 1 kernel" in said
    assert not is_running(keeper)
    assert not is_running(process)


@pytest.mark.parametrize(("first", "second"), [("older", "this"), ("this", "next"), ("next", "this")])
async def test_the_keeper_becomes_the_version_of_the_command(
    kept_gateways: KeptGateways, programs: dict[str, str], first: str, second: str
) -> None:
    gateway = kept_gateways.begin(program=programs[first])
    keeper = kept_gateways.keeper()
    async with Client(gateway.url) as client:
        kernel_id = await client.start()
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
        # A tree from before there was such a call says so.
        says = "restart" in kept_gateways.command("keeper", "--help", program=programs[first])
        words = ("keeper", "restart")
        said = await asyncio.to_thread(kept_gateways.command, *words, program=programs[second], code=0 if says else 1)
        if not says:
            assert f"is of {VERSIONS[first]}, which cannot be replaced while it runs" in said
        assert keeper_version(kept_gateways) == VERSIONS[second if says else first]
        assert kept_gateways.keeper() == keeper
        assert await client.evaluate(kernel_id, "x") == "41"


def keeper_version(kept_gateways: KeptGateways) -> str:
    """The version of the keeper that runs, as it says itself."""
    found = re.search(r"version (\S+), pid", kept_gateways.command("keeper", "status"))
    assert found is not None
    return found[1]
