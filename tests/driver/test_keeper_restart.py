"""A keeper that is replaced by another program in the same process: its kernels, and servers, go on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import psutil
import pytest

from fps_kernels.kept.keeper_client import KeeperClient, RefusedByKeeper
from fps_kernels.kept.kept_process import KeptProcess

from ..support.drivers import Inbox, execute, run
from ..support.keepers import Keepers, is_running, summary_of
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")


UNTIL_GO = """
import os, time
while not os.path.exists("go"):
    time.sleep(0.01)
stream("done")
"""


async def restart(keeper: KeeperClient, *, now: bool = False, wait_s: int = 30, python: str = sys.executable) -> None:
    """Have a server, which goes on with the same connection, ask for it."""
    await keeper.call("restart", timeout_s=60, python=python, now=now, wait_s=wait_s)


def program_of(process: psutil.Process) -> str:
    """What tells one program of a process from the next: the address of its stack is drawn at each execv."""
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[25]


async def test_kernels_and_servers_go_on(keepers: Keepers, keeper: KeeperClient) -> None:
    other = await keepers.connect()
    drivers = [await keepers.start(keeper), await keepers.start(other, "tiny_curve")]
    for driver in drivers:
        await run(driver.client, "globals().update(x=41)")
    process, uuid, pids = keepers.process(), keeper.uuid, [driver.pid for driver in drivers]
    for _ in range(3):
        before = program_of(process)
        await restart(keeper)
        assert program_of(process) != before
        for driver in drivers:
            assert await run(driver.client, "stream(str(x))") == "41"
    assert [driver.pid for driver in drivers] == pids
    assert (keepers.pid(), keeper.uuid, keeper.well) == (process.pid, uuid, True)
    assert json.loads(keepers.state.description.read_text())["uuid"] == uuid
    assert {child.pid for child in process.children()} == set(pids)


async def test_a_kernel_asks_for_input_afterwards(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    await restart(keeper)
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, "stream(reply_input('name?'))")
    request = await inbox.until_type("input_request")
    frames = driver.client.make_frames("input_reply", {"value": "Ada"}, request.frames[0])
    driver.client.send("stdin", frames)
    await inbox.until_idle(msg_id)
    assert inbox.texts() == ["Ada"]


async def test_what_is_sent_meanwhile_is_answered(keepers: Keepers, keeper: KeeperClient) -> None:
    """Each line once, and in order: requests wait until the next program reads them."""
    driver = await keepers.start(keeper)
    inbox = Inbox(driver.client)
    replacing = asyncio.create_task(restart(keeper))
    numbers = 0
    while not replacing.done():
        await inbox.until_idle(execute(driver.client, f"stream('{numbers} ')"))
        numbers += 1
        await asyncio.sleep(0.5)  # longer than a kernel has to be quiet
    await replacing
    await inbox.until_idle(execute(driver.client, f"stream('{numbers} ')"))
    assert "".join(inbox.texts()).split() == [str(number) for number in range(numbers + 1)]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
async def test_the_exit_status_of_a_kernel_is_seen(keepers: Keepers, keeper: KeeperClient, signum: int) -> None:
    driver = await keepers.start(keeper, restart_limit=0)
    process = driver._process
    assert isinstance(process, KeptProcess)
    await restart(keeper)
    os.kill(driver.pid or 0, signum)
    assert (await process.exited).code == -signum


async def test_a_kernel_that_dies_meanwhile_is_seen(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper, restart_limit=0)
    process, pid = driver._process, driver.pid
    assert isinstance(process, KeptProcess)
    assert pid is not None
    before = program_of(keepers.process())
    replacing = asyncio.create_task(restart(keeper))
    await until(lambda: program_of(keepers.process()) != before, every_s=0)
    os.kill(pid, signal.SIGKILL)
    await replacing
    assert (await process.exited).code == -signal.SIGKILL


async def test_the_last_lines_and_what_is_left_of_one_are_dealt_with(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper, restart_limit=0)
    process = driver._process
    assert isinstance(process, KeptProcess)
    await run(driver.client, "import sys; print('before', file=sys.stderr, flush=True)")
    await restart(keeper)
    execute(driver.client, "import sys; print('after', file=sys.stderr, flush=True); __import__('os')._exit(3)")
    status = await process.exited
    assert (status.code, status.stderr[-2:]) == (3, ("before", "after"))


async def test_busy_kernels_are_waited_for(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, UNTIL_GO)
    before = program_of(keepers.process())
    with pytest.raises(RefusedByKeeper, match=f"Not all kernels were idle within 1 s: {driver.kernel_id}"):
        await restart(keeper, wait_s=1)
    assert program_of(keepers.process()) == before
    replacing = asyncio.create_task(restart(keeper))
    await asyncio.sleep(0)  # it has asked
    with pytest.raises(RefusedByKeeper, match="is being replaced already"):
        await restart(keeper)
    (keepers.folder / "go").touch()
    await replacing
    await inbox.until_idle(msg_id)
    assert "".join(inbox.texts()) == "done"
    assert program_of(keepers.process()) != before


async def test_now_does_not_wait_and_tells_of_a_gap(
    keepers: Keepers, keeper: KeeperClient, caplog: pytest.LogCaptureFixture
) -> None:
    idle, busy = await keepers.start(keeper), await keepers.start(keeper)
    inbox = Inbox(busy.client)
    msg_id = execute(busy.client, UNTIL_GO)
    await restart(keeper, now=True)
    await until(lambda: f"some messages of kernel {busy.kernel_id} are missing" in caplog.text)
    assert idle.kernel_id not in caplog.text
    (keepers.folder / "go").touch()
    await inbox.until_idle(msg_id)
    assert inbox.texts() == ["done"]
    assert await run(idle.client, "stream('well')") == "well"


async def test_a_busy_ipython_kernel_answers_afterwards(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper, "python3")
    inbox = Inbox(driver.client)
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
    msg_id = execute(driver.client, code)
    await inbox.until_type("execute_input")
    await restart(keeper, now=True)
    (keepers.folder / "go").touch()
    reply = await inbox.until_reply(msg_id)
    await inbox.until_idle(msg_id)
    assert (reply.content["status"], "".join(inbox.texts())) == ("ok", "done\n")


async def test_a_program_that_cannot_take_over_is_not_let(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    before = program_of(keepers.process())
    with pytest.raises(RefusedByKeeper, match="cannot be run"):
        await restart(keeper, python="/no/such/python")
    with pytest.raises(RefusedByKeeper, match="cannot take over from this version"):
        await restart(keeper, python="/bin/false")
    assert program_of(keepers.process()) == before
    assert await run(driver.client, "stream('well')") == "well"


async def test_all_ends_afterwards_as_before(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    process, kernel = keepers.process(), psutil.Process(driver.pid)
    await restart(keeper)
    assert (await summary_of(keeper, driver.kernel_id))["running"]
    await keeper.leave()
    process.terminate()
    await until(lambda: not is_running(process) and not is_running(kernel))
    assert sorted(path.name for path in keepers.state.path.iterdir()) == ["keeper.lock", "keeper.log", "kernels"]
    assert not list(keepers.connection_dir.glob("*.json"))
