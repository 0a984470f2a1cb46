"""Kernels that outlive `fps-kernels lab`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.keepers import is_running
from ..support.kept_gateways import KeptGateways, keeping_gateways
from .test_lab_command import LEAN


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[KeptGateways]:
    with keeping_gateways(tmp_path) as gateways:
        yield gateways


async def test_kernels_outlive_a_lab_that_is_shut_down_or_killed(labs: KeptGateways) -> None:
    keep = ["--set", "kernels.keep_kernels=always", "--set", f"kernels.state_dir={labs.state}"]
    lab = labs.start("lab", *LEAN, *keep)
    async with Client(lab.url) as client:
        session = await client.start_session("work/a.ipynb")
        kernel_id = session["kernel"]["id"]
        assert await client.evaluate(kernel_id, "globals().setdefault('x', 41)") == "41"
        process = lab.process_of(kernel_id)
        (await client.http.post("/api/shutdown")).raise_for_status()
    assert lab.wait_end() == 0
    for signum in (signal.SIGKILL, signal.SIGTERM):
        lab = labs.start("lab", *LEAN, *keep)
        async with Client(lab.url) as client:
            [again] = (await client.http.get("/api/sessions")).json()
            assert (again["id"], again["path"], again["kernel"]["id"]) == (session["id"], "work/a.ipynb", kernel_id)
            assert await client.evaluate(kernel_id, "(os.getpid(), x)") == f"({process.pid}, 41)"
        lab.stop(signum)
        assert is_running(process)
    assert labs.command("stop", "--all") == f"{kernel_id} has ended\n"
    assert not is_running(process)
