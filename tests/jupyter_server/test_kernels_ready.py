"""Kernels that a stock Jupyter Server keeps ready: a start adopts one, and nothing tells it from a new one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from fps_kernels.hosts.jupyter_server.hosted_options import HOSTED_OPTIONS
from fps_kernels.hosts.jupyter_server.mapping_manager import FpsMappingKernelManager

from ..support import waits
from ..support.client import Client
from ..support.inside import SEEN
from ..support.keepers import is_running
from ..support.kernelspecs import add_kernelspec
from ..support.messages import Json, text_of
from ..support.servers import options
from ..support.stock import BeginStock, StockServer

until = partial(waits.until, timeout_s=150)
ONE = options(prewarm=1)
SLOW = "import sys, time; time.sleep(3); from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"


async def log_of(server: StockServer, text: str, count: int = 1) -> None:
    """Wait until the server has said something so many times."""
    await until(lambda: server.log.read_text().count(text) >= count)


ready = partial(log_of, text="a prewarmed python3 kernel is ready")


async def look(client: Client, kernel_id: str) -> Json:
    """What code in the kernel can see of it."""
    async with await client.connect(kernel_id) as socket:
        return json.loads(text_of(await socket.run(SEEN, timeout_s=150)))


async def pid_of(client: Client, kernel_id: str) -> int:
    async with await client.connect(kernel_id) as socket:
        return int(text_of(await socket.run("import os; print(os.getpid())", timeout_s=150)))


def connection_file(server: StockServer, kernel_id: str) -> Json:
    return json.loads((server.runtime / f"kernel-{kernel_id}.json").read_text())


def kernels_of(server: StockServer) -> Sequence[psutil.Process]:
    """The processes of IPython kernels."""
    return [one for one in server.kernel_processes() if any("ipykernel_launcher" in word for word in one.cmdline())]


async def test_a_kernel_that_is_adopted_is_as_a_new_one(begin: BeginStock) -> None:
    server = begin(*ONE)
    (server.root / "below").mkdir()
    await ready(server)
    [kept] = kernels_of(server)
    async with Client(server.url) as client:
        assert await client.kernels() == []  # one that nobody has is not listed
        adopted = (await client.start_session("below/a.ipynb", "python3"))["kernel"]["id"]
        assert f"kernel {adopted}: using a prewarmed kernel" in server.log.read_text()
        new = (await client.start_session("below/b.ipynb", "python3"))["kernel"]["id"]
        assert f"kernel {new}: using a prewarmed kernel" not in server.log.read_text()
        assert await pid_of(client, adopted) == kept.pid != await pid_of(client, new)
        seen, expected = await look(client, adopted), await look(client, new)
    assert expected["environment"]["JPY_SESSION_NAME"].endswith("b.ipynb")
    assert expected["folder"] == str(server.root / "below")
    same = json.dumps(seen).replace(adopted, new).replace("below/a.ipynb", "below/b.ipynb")
    assert json.loads(same) == expected
    assert connection_file(server, adopted).keys() == connection_file(server, new).keys()
    assert connection_file(server, adopted)["jupyter_session"] == seen["environment"]["JPY_SESSION_NAME"]


async def test_it_keeps_its_ports_over_a_restart_and_another_takes_its_place(begin: BeginStock) -> None:
    server = begin(*ONE, *options(start_answer_s=30))
    await ready(server)
    async with Client(server.url) as client:
        kernel_id = await client.start("python3")
        before, pid = connection_file(server, kernel_id), await pid_of(client, kernel_id)
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("print('first')")) == "first\n"
            assert (await client.http.post(f"/api/kernels/{kernel_id}/interrupt")).status_code == 204
            await log_of(server, "a prewarmed python3 kernel is ready", 2)
            response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
            assert response.status_code == 200
            assert connection_file(server, kernel_id) == before
            assert text_of(await socket.run("print('second')", timeout_s=150)) == "second\n"
            assert server.process_of(kernel_id).pid != pid
            server.process_of(kernel_id).send_signal(signal.SIGKILL)  # one that was launched by the same manager
            await socket.until_status("restarting")
            assert text_of(await socket.run("print('third')", timeout_s=150)) == "third\n"
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        assert not (server.runtime / f"kernel-{kernel_id}.json").exists()


async def test_one_that_dies_before_it_is_wanted_is_replaced_by_a_launch(begin: BeginStock) -> None:
    server = begin(*ONE)
    await ready(server)
    async with Client(server.url) as client:
        [kept] = kernels_of(server)
        kept.send_signal(signal.SIGSTOP)  # it is there, and does not answer
        try:
            kernel_id = await client.start("python3")
            async with await client.connect(kernel_id) as socket:
                assert text_of(await socket.run("print('new')", timeout_s=150)) == "new\n"
            assert server.process_of(kernel_id).pid != kept.pid
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):  # ended by the server
                kept.kill()


async def test_nothing_is_left_when_the_server_ends(begin: BeginStock) -> None:
    server = begin(*ONE)
    await ready(server)
    kept = kernels_of(server)
    assert list(server.runtime.rglob("kernel-*.json"))
    server.stop()
    gone, alive = psutil.wait_procs(kept, timeout=60)
    assert gone
    assert not alive
    assert not list(server.runtime.rglob("kernel-*.json"))


async def test_those_kept_make_room(begin: BeginStock) -> None:
    server = begin(*ONE, *options(max_kernels=1))
    await ready(server)
    [kept] = kernels_of(server)
    async with Client(server.url) as client:
        kernel_id = await client.start()
        await until(lambda: not is_running(kept))
        response = await client.http.post("/api/kernels", json={"name": "tiny_plain"})
        assert response.status_code == 403
        assert response.json()["message"] == "Resource Limit"
        assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204
        await ready(server, count=2)


async def test_the_environment_of_a_request_is_compared(begin: BeginStock) -> None:
    """A variable that is read before any code of the user's runs needs a new process."""
    server = begin(*ONE, env={"FPS_TEST_HOST": "1"})
    add_kernelspec(
        server.share,
        "ours",
        {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Ours",
            "language": "python",
            "env": {"OF_THE_SPEC": "${FPS_TEST_HOST}"},
        },
    )
    await ready(server)
    async with Client(server.url) as client:
        kernel_id = await client.start("ours")  # another kernelspec than the one that is kept
        assert "using a prewarmed kernel" not in server.log.read_text()
        seen = await look(client, kernel_id)
        assert seen["environment"]["OF_THE_SPEC"] == "1"


SUBCLASS = """
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

class SeesStarts(ServerKernelManager):
    pass
"""
SPECS = """
from jupyter_client.kernelspec import KernelSpecManager

class MoreSpecs(KernelSpecManager):
    pass
"""


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--KernelManager.transport=ipc", "where kernels listen is configured"),
        ("--KernelManager.shell_port=45678", "where kernels listen is configured"),
        ("--AsyncMappingKernelManager.kernel_manager_class=others.SeesStarts", "SeesStarts would not see the start"),
        ("--ServerApp.kernel_spec_manager_class=others.MoreSpecs", "a class that need not be safe with threads"),
    ],
)
async def test_where_none_can_be_kept_the_log_says_why(
    begin: BeginStock, tmp_path: Path, option: str, text: str
) -> None:
    (tmp_path / "others.py").write_text(SUBCLASS + SPECS)
    server = begin(*ONE, option, env={"PYTHONPATH": str(tmp_path)})
    await log_of(server, "fps_kernels keeps no kernels ready: ")
    assert text in server.log.read_text()
    if "ipc" in option:  # the paths of its sockets would be too long here
        return
    async with Client(server.url) as client:
        kernel_id = await client.start("python3")
        async with await client.connect(kernel_id) as socket:
            assert text_of(await socket.run("print('runs')", timeout_s=150)) == "runs\n"


@pytest.mark.parametrize("value", ["-1", "{'python3': -1}", "many"])
def test_a_wrong_number_is_refused(begin: BeginStock, value: str) -> None:
    with pytest.raises(AssertionError, match="prewarm"):
        begin(f"--FpsMappingKernelManager.prewarm={value}")


def test_none_are_kept_under_jupyterhub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    assert FpsMappingKernelManager().prewarm == 1
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    assert FpsMappingKernelManager().prewarm == 0


def test_every_option_of_the_table_is_a_trait() -> None:
    assert set(FpsMappingKernelManager.class_traits(kernels_option=lambda name: name is not None)) == set(
        HOSTED_OPTIONS
    )


async def test_the_end_of_the_last_kernel_hurts_none_that_starts(begin: BeginStock) -> None:
    """The shell that ends what dead servers leave ends with the last kernel, and must not take one that starts."""
    server = begin(*options(start_answer_s=60))
    add_kernelspec(
        server.share,
        "slow",
        {
            "argv": [sys.executable, "-c", SLOW, "-f", "{connection_file}"],
            "display_name": "Slow",
            "language": "python",
        },
    )
    async with Client(server.url) as client:
        first = await client.start()
        starting = asyncio.create_task(client.start("slow"))
        await log_of(server, "(slow) launched")
        assert (await client.http.delete(f"/api/kernels/{first}")).status_code == 204
        kernel_id = await starting
        assert "launched" not in server.log.read_text().rpartition("(slow) launched")[2]  # it did not take two
        assert server.process_of(kernel_id).is_running()
