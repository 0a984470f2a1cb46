"""Kernels whose parent is a keeper: what a driver does with them is what it does with others."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from fps_kernels.errors import KernelRestarted, KernelStartFailed
from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kept.kept_process import KeptProcess, forget
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.process import LaunchedProcess
from fps_kernels.kernel_driver.reaper import Reaper
from fps_kernels.kernel_driver.spec_classes import SpecClasses
from fps_kernels.ledger import Ledger

from ..support.drivers import Inbox, Recorder, execute, message_frames, run
from ..support.keepers import Keepers, is_running, summary_of
from ..support.plugins.noting_provisioner import install
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
async def driver(keepers: Keepers, keeper: KeeperClient) -> KernelDriver:
    return await keepers.start(keeper)


def process_of(driver: KernelDriver) -> KeptProcess:
    assert isinstance(driver._process, KeptProcess)
    return driver._process


async def test_a_kernel_is_a_child_of_the_keeper_and_executes(keepers: Keepers, driver: KernelDriver) -> None:
    assert driver.pid is not None
    process = psutil.Process(driver.pid)
    assert process.ppid() == keepers.pid()
    assert "JPY_PARENT_PID" not in process.environ()
    assert os.getsid(driver.pid) == driver.pid
    assert os.readlink(f"/proc/{driver.pid}/fd/0") == "/dev/null"
    assert await run(driver.client, "stream('hello')") == "hello"


@pytest.mark.parametrize("mode", ["tiny_curve", "tiny_slow", "tiny_no_status", "tiny_message_interrupt"])
async def test_other_kernels_become_ready_too(keepers: Keepers, keeper: KeeperClient, mode: str) -> None:
    driver = await keepers.start(keeper, mode)
    assert await run(driver.client, "stream('hello')") == "hello"


async def test_input_is_asked_for_and_given(driver: KernelDriver) -> None:
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, "stream(reply_input('name?'))")
    request = await inbox.until_type("input_request")
    frames = driver.client.make_frames("input_reply", {"value": "Ada"}, request.frames[0])
    driver.client.send("stdin", frames)
    await inbox.until_reply(msg_id)
    assert await inbox.until_text("Ada")


async def test_buffers_arrive_both_ways(driver: KernelDriver) -> None:
    inbox = Inbox(driver.client)
    large = bytes(range(256)) * 1024
    driver.client.send("shell", message_frames("comm_msg", {"comm_id": "c", "data": {}}, buffers=[large, b"ab"]))
    message = await inbox.until(lambda one: one.msg_type == "comm_msg")
    assert message.buffers == [large[::-1], b"ba"]


async def test_a_cell_is_interrupted(driver: KernelDriver) -> None:
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, "import time; stream('on')\nwhile True: time.sleep(0.05)")
    await inbox.until_text("on")
    await driver.interrupt()
    reply = await inbox.until_reply(msg_id)
    assert reply.content["ename"] == "KeyboardInterrupt"


async def test_a_restart_is_another_process_of_the_same_kernel(
    keepers: Keepers, keeper: KeeperClient, driver: KernelDriver
) -> None:
    first = driver.pid
    recorder = Recorder(driver)
    inbox = Inbox(driver.client)
    execute(driver.client, "import time; stream('on'); time.sleep(100)", origin="page")
    await inbox.until_text("on")
    await driver.restart()
    keepers.note_processes()
    assert driver.pid != first
    assert isinstance(recorder.error, KernelRestarted)
    assert await run(driver.client, "stream('again')") == "again"
    summary = await summary_of(keeper, driver.kernel_id)
    assert (summary["generation"], summary["pid"], summary["unfinished"]) == (2, driver.pid, 0)


async def test_a_shutdown_ends_the_process_and_removes_its_files(keepers: Keepers, driver: KernelDriver) -> None:
    pid = driver.pid
    assert pid is not None
    process = psutil.Process(pid)
    assert list(keepers.connection_dir.glob("*.json"))
    await driver.shutdown()
    assert not is_running(process)
    assert not list(keepers.connection_dir.glob("*.json"))
    await until(lambda: not list(keepers.state.kernels.iterdir()))


async def test_a_death_is_told_with_the_last_lines_and_the_status(driver: KernelDriver) -> None:
    process = process_of(driver)
    execute(driver.client, "import os, sys; print('one\\ntwo', file=sys.stderr, flush=True); os._exit(7)")
    status = await process.exited
    assert (status.code, status.stderr) == (7, ("one", "two"))
    assert status.reason == "exited with code 7: one | two"


async def test_a_kernel_that_dies_is_restarted(keepers: Keepers, driver: KernelDriver) -> None:
    recorder = Recorder(driver)
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    await recorder.until("restarting")
    assert "SIGKILL" in recorder.reason
    await until(lambda: driver.client.state.ready)
    keepers.note_processes()
    assert await run(driver.client, "stream('again')") == "again"


async def test_a_kernel_that_exits_at_once_says_why(keepers: Keepers, keeper: KeeperClient) -> None:
    with pytest.raises(KernelStartFailed, match=r"code 3: .*ImportError: no module named tiny"):
        await keepers.start(keeper, "tiny_exits")


async def test_a_program_that_does_not_exist_is_named(keepers: Keepers, keeper: KeeperClient) -> None:
    with pytest.raises(KernelStartFailed, match="No such file or directory: no-such-program"):
        await keepers.start(keeper, "no_such_program")
    assert (await keeper.call("kernels"))["kernels"] == []
    assert not list(keepers.connection_dir.glob("*.json"))


async def test_what_a_kernel_leaves_in_its_process_group_is_ended(driver: KernelDriver) -> None:
    inbox = Inbox(driver.client)
    code = "import subprocess; child = subprocess.Popen(['sleep', '1000']); stream(str(child.pid))"
    await inbox.until_idle(execute(driver.client, code))
    child = psutil.Process(int(inbox.texts()[0]))
    await driver.shutdown()
    await until(lambda: not is_running(child))


async def test_stderr_is_cut_while_it_is_written_to(keepers: Keepers, driver: KernelDriver) -> None:
    path = keepers.state.kernels / f"{driver.kernel_id}.err"
    inbox = Inbox(driver.client)
    code = "import sys\nfor n in range(30000): print(f'{n:06d}', 'x' * 92, file=sys.stderr)\nsys.stderr.flush()"
    await inbox.until_reply(execute(driver.client, code))
    await until(lambda: 0 < path.stat().st_size < 1024 * 1024)  # for a moment it is empty
    before = path.stat().st_size
    await inbox.until_reply(execute(driver.client, "print('after', file=sys.stderr, flush=True)"))
    await until(lambda: path.read_text().endswith("\nafter\n"))
    assert before > 60_000, "what was there last is kept"
    assert path.read_text().count("\n0") > 500


async def test_a_launch_that_is_given_up_leaves_no_process(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = keepers.make(keeper)
    start = asyncio.create_task(driver.start())
    await until(lambda: keepers.process().children())
    keepers.note_processes()
    children = keepers.process().children()
    await driver.shutdown(now=True)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - the start was cancelled, or has failed
        await start
    await until(lambda: not any(map(is_running, children)))


async def test_a_process_becomes_another_kernels(keepers: Keepers, keeper: KeeperClient) -> None:
    """As one that was kept ready."""
    driver = await keepers.start(keeper)
    await run(driver.client, "x = 'mine'; stream('before')")
    path = keepers.connection_dir / "kernel-other.json"
    process = await driver.release("other", path, str(keepers.connection_dir), "notebook.ipynb")
    assert isinstance(process, KeptProcess)
    other = keepers.make(keeper, adopted=process)
    await other.start()
    assert await run(other.client, "stream(x)") == "mine"
    (summary,) = (await keeper.call("kernels"))["kernels"]
    assert (summary["kernel"], summary["pid"]) == ("other", process.pid)
    assert summary["facts"]["process"]["connection_file"] == str(path)
    assert [one.name for one in keepers.state.kernels.iterdir()] == ["other.err"]
    assert other.resolve_path("kernel-other.json") == str(path)
    later = await keepers.connect()
    adopted = await KeptProcess.adopt(later, summary, 0)
    inbox = Inbox((second := keepers.make(later, adopted=adopted)).client)
    await second.start()
    await inbox.until_text("mine")
    assert "before" not in inbox.texts()
    await later.leave()
    await other.shutdown()
    assert not path.exists()


async def test_one_that_ends_while_it_becomes_another_kernels_is_seen(keepers: Keepers, keeper: KeeperClient) -> None:
    """Its end is told under the id that it had."""
    process = process_of(await keepers.start(keeper))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.5)  # noqa: ASYNC251 - the keeper has told it then, and nothing of that is read here
    process.become("other", keepers.connection_dir / "kernel-other.json", str(keepers.connection_dir))
    assert (await process.exited).code == -signal.SIGKILL
    await process.clean_up()
    forget(keeper, "other")


async def test_it_becomes_another_kernels_over_a_connection_that_breaks(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    await run(driver.client, "x = 'mine'")
    connection = keeper._connection
    assert connection is not None
    assert connection._transport is not None
    connection._transport.abort()
    path = keepers.connection_dir / "kernel-other.json"
    process = await driver.release("other", path, str(keepers.connection_dir))
    assert isinstance(process, KeptProcess)
    other = keepers.make(keeper, adopted=process)
    await other.start()
    assert await run(other.client, "stream(x)") == "mine"
    assert [one["kernel"] for one in (await keeper.call("kernels"))["kernels"]] == ["other"]


async def test_nothing_is_kept_of_a_kernel_that_is_gone(keepers: Keepers, keeper: KeeperClient) -> None:
    """Its server has a connection for as long as it lives."""
    sizes = []
    for _ in range(6):
        driver = await keepers.start(keeper)
        for _ in range(3):
            inbox = Inbox(driver.client)
            await inbox.until_idle(execute(driver.client, f"for n in range(10): stream('a' * {1 << 20})"))
            driver.client.remove_listener(inbox.listener)
        assert (await summary_of(keeper, driver.kernel_id))["bytes"] > 25 << 20
        await driver.shutdown(now=True)
        forget(keeper, driver.kernel_id)
        sizes.append(keepers.process().memory_info().rss)
    assert sizes[-1] - sizes[0] < 60 << 20


async def test_a_connection_that_breaks_loses_nothing(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    inbox = Inbox(driver.client)
    count = 20_000
    msg_id = execute(driver.client, f"for n in range({count}): stream(str(n))")
    for number in range(1, 4):
        await until(lambda number=number: len(inbox.messages) > number * 2_000, every_s=0)  # type: ignore[misc]
        connection = keeper._connection
        assert connection is not None
        assert connection._transport is not None
        connection._transport.abort()
        await until(lambda: not keeper.well, every_s=0)
        later = execute(driver.client, "stream('later')")
        await until(lambda: keeper.well)
    await inbox.until_reply(msg_id)
    await inbox.until_idle(later)  # which comes after its output, as a reply need not
    assert inbox.texts() == [*map(str, range(count)), *["later"] * 3]


async def test_a_kernel_that_nobody_has_connected_to_is_connected_to(keepers: Keepers, keeper: KeeperClient) -> None:
    """As when a server dies in the midst of a launch."""
    driver = keepers.make(keeper)
    process = await driver._launcher.launch(driver.kernel_id)
    assert isinstance(process, KeptProcess)
    await keeper.leave()
    other = await keepers.connect()
    adopted = await KeptProcess.adopt(other, await summary_of(other, driver.kernel_id), 0)
    second = keepers.make(other, adopted=adopted)
    await second.start()
    assert await run(second.client, "stream('hello')") == "hello"


async def test_a_kernel_of_which_too_little_is_known_is_not_adopted(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    summary = await summary_of(keeper, driver.kernel_id)
    (path,) = keepers.connection_dir.glob("*.json")
    moved = path.rename(path.with_suffix(".moved"))
    with pytest.raises(KernelStartFailed, match="not enough"):
        await KeptProcess.adopt(keeper, summary)
    with pytest.raises(KernelStartFailed, match="not enough"):
        await KeptProcess.adopt(keeper, {**summary, "facts": {}})
    moved.rename(path)


async def test_nothing_of_the_server_ends_it_with_the_server(keepers: Keepers, keeper: KeeperClient) -> None:
    """Neither the shell that ends process groups, nor who removes the files of a server that was killed."""
    reaper, ledger = Reaper(), Ledger(keepers.connection_dir)
    driver = await keepers.start(keeper, launcher={"reaper": reaper, "ledger": ledger})
    assert reaper._process is None
    assert ledger._prints == {}
    await driver.restart()
    keepers.note_processes()
    assert ledger._prints == {}
    ledger.close()
    await reaper.close()


async def test_a_kernel_of_another_provisioner_is_not_kept(
    keepers: Keepers, keeper: KeeperClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others do at a launch is theirs: it ends with the server, as all did."""
    monkeypatch.syspath_prepend(install(tmp_path / "lib"))
    factory = KernelProvisionerFactory.instance()
    before = factory.default_provisioner_name
    try:
        keepers.specs = Kernelspecs(classes=SpecClasses("", default_provisioner="noting"))
        await keepers.specs.open()
        driver = await keepers.start(keeper)
    finally:
        factory.default_provisioner_name = before
    assert isinstance(driver._process, LaunchedProcess)
    assert not driver._process.kept
    assert driver.pid is not None
    assert psutil.Process(driver.pid).ppid() == os.getpid()
    assert await run(driver.client, "import os; stream(os.environ['SEEN_BY_PROVISIONER'])") == "nobody"
    assert (await keeper.call("kernels"))["kernels"] == []


async def test_what_a_kernel_writes_to_stderr_is_logged(
    keepers: Keepers, driver: KernelDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fps_kernels.kernel_driver.stderr")

    def logged() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "fps_kernels.kernel_driver.stderr"]

    begin = f"kernel {driver.kernel_id}: "
    await run(driver.client, "import sys; print('one\\x1b[31m', file=sys.stderr, flush=True)")
    await until(lambda: logged() == [f"{begin}one\\x1b[31m"])
    await run(driver.client, "for n in range(500): print(n, file=sys.stderr)\nsys.stderr.flush()")
    await until(lambda: len(logged()) == 200)
    execute(driver.client, "import os; sys.stderr.write('last'); sys.stderr.flush(); os._exit(1)")
    await process_of(driver).exited
    await until(lambda: "more lines" in logged()[-1])
    assert logged()[-1].startswith(f"{begin}302 more lines")
