"""A kernel's life, with real processes: start, death, restart, interrupt, shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from fps_kernels.errors import Conflict, KernelDied, KernelInterrupted, KernelRestarted, KernelStartFailed
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernels.launch_environment import server_environment
from fps_kernels.tasks import cancel_and_wait

from ..support.drivers import TIMEOUT_S, Drivers, Inbox, Recorder, execute, message_frames, run
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

SLEEP = "stream('asleep')\nimport time\nwhile True: time.sleep(0.05)"


def add_tiny(kernels: Drivers, name: str, mode: str = "plain", **fields: Any) -> Path:
    """A kernelspec of the tiny kernel with fields of its own."""
    spec = {
        "argv": [sys.executable, str(KERNEL), mode, "{connection_file}"],
        "display_name": name,
        "language": "python",
    }
    return add_kernelspec(kernels.share, name, spec | fields)


def add_vanishing(kernels: Drivers) -> Path:
    """A kernelspec whose interpreter can be removed; returns its path."""
    python = kernels.share / "vanishing-python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    add_tiny(kernels, "vanishing", argv=[str(python), str(KERNEL), "plain", "{connection_file}"])
    return python


async def failed_start(driver: KernelDriver) -> str:
    with pytest.raises(KernelStartFailed) as caught:
        await driver.start()
    return caught.value.message


async def asleep(driver: KernelDriver) -> str:
    """Have the kernel run something long; returns the msg_id once it does."""
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, SLEEP, origin="somebody")
    await inbox.until_text("asleep")
    driver.client.remove_listener(inbox.listener)
    return msg_id


def kill(driver: KernelDriver) -> None:
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)


async def until_pid(driver: KernelDriver) -> int:
    """The process is launched before anything is told of it: ask until it is there."""
    await until(lambda: driver.pid is not None, every_s=0)
    assert driver.pid is not None
    return driver.pid


# --- start --------------------------------------------------------------------------------------


async def test_a_started_kernel_is_idle_and_answers(kernels: Drivers) -> None:
    driver = await kernels.start()
    assert driver.client.execution_state == "idle"
    assert driver.client.generation == 1
    assert psutil.Process(driver.pid).is_running()
    assert await run(driver.client, "import os\nstream(str(os.getpid()))") == str(driver.pid)


async def test_a_kernel_that_is_slow_to_answer_becomes_ready(kernels: Drivers) -> None:
    driver = kernels.make("tiny_slow")
    start = asyncio.create_task(driver.start())
    await until_pid(driver)
    assert driver.client.execution_state == "starting"
    await start
    assert driver.client.execution_state == "idle"


async def test_a_kernel_that_publishes_no_status_becomes_ready_with_a_warning(
    kernels: Drivers, caplog: pytest.LogCaptureFixture
) -> None:
    driver = await kernels.start("tiny_no_status")
    assert driver.client.execution_state == "idle"
    assert "nothing is heard on iopub" in caplog.text
    assert await run(driver.client, "stream('it works')") == "it works"


async def test_a_kernel_that_exits_at_start_fails_with_its_exit_code_and_stderr(kernels: Drivers) -> None:
    message = await failed_start(kernels.make("tiny_exits"))
    assert "exited with code 3" in message
    assert "ImportError: no module named tiny" in message


async def test_a_kernel_that_exits_at_start_leaves_nothing(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    await failed_start(driver)
    assert await kernels.leftovers() == []
    assert driver.pid is None


async def test_a_kernel_that_exits_at_start_is_dead_with_that_reason(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    told = Recorder(driver)
    message = await failed_start(driver)
    assert driver.client.execution_state == "dead"
    assert driver.reason == told.reason == message
    assert told.events == ["dead"]


async def test_a_kernel_of_the_pool_that_never_answers_fails_after_the_timeout_and_leaves_nothing(
    kernels: Drivers,
) -> None:
    driver = kernels.make("tiny_silent", startup_timeout_s=0.3, patient=False)
    assert "did not answer within 0.3 s" in await failed_start(driver)
    assert await kernels.leftovers() == []


async def test_a_kernel_that_is_slower_than_the_timeout_becomes_ready_and_runs_what_waits(kernels: Drivers) -> None:
    driver = kernels.make("tiny_slow", startup_timeout_s=0.1)
    inbox = Inbox(driver.client)
    start = asyncio.create_task(driver.start())
    await driver.overdue.wait()
    assert driver.client.execution_state == "starting"
    assert "did not answer within 0.1 s, but its process lives" in (driver.client.state.unresponsive or "")
    execute(driver.client, "stream('first')")
    execute(driver.client, "stream('second')")
    await start
    assert not driver.overdue.is_set()
    assert driver.client.state.unresponsive is None
    await inbox.until_text("second")
    assert inbox.texts() == ["first", "second"]


async def test_a_kernel_that_dies_after_the_timeout_fails_with_the_reason(kernels: Drivers) -> None:
    driver = kernels.make("tiny_silent", startup_timeout_s=0.1)
    told = Recorder(driver)
    start = asyncio.create_task(driver.start())
    await driver.overdue.wait()
    msg_id = execute(driver.client, "1", origin=object())
    kill(driver)
    with pytest.raises(KernelStartFailed, match="SIGKILL"):
        await start
    assert told.events == ["requests failed", "dead"]
    assert [one.msg_id for one in told.failed] == [msg_id]
    assert await kernels.leftovers() == []


async def test_a_start_that_nobody_waits_for_any_more_goes_on(kernels: Drivers) -> None:
    driver = kernels.make("tiny_slow")
    start = asyncio.create_task(driver.start())
    await until_pid(driver)
    await cancel_and_wait(start)
    await driver.client.wait_ready()
    assert driver.client.execution_state == "idle"


async def test_a_program_that_is_not_there_is_named(kernels: Drivers) -> None:
    message = await failed_start(kernels.make("no_such_program"))
    assert "No such file or directory: no-such-program" in message
    assert await kernels.leftovers() == []


async def test_a_program_that_is_not_there_is_named_without_its_path(kernels: Drivers) -> None:
    add_tiny(kernels, "gone", argv=[str(kernels.root / "bin" / "gone-program"), "{connection_file}"])
    message = await failed_start(kernels.make("gone"))
    assert "gone-program" in message
    assert str(kernels.root) not in message


async def test_a_kernelspec_that_is_not_there_fails_to_start(kernels: Drivers) -> None:
    assert "nonexistent" in await failed_start(kernels.make("nonexistent"))
    assert await kernels.leftovers() == []


async def test_a_provisioner_that_is_not_installed_fails_to_start(kernels: Drivers) -> None:
    add_tiny(kernels, "remote", metadata={"kernel_provisioner": {"provisioner_name": "no-such-provisioner"}})
    assert "remote could not be started" in await failed_start(kernels.make("remote"))
    assert await kernels.leftovers() == []


async def test_a_working_directory_that_is_gone_fails_to_start_without_its_path(kernels: Drivers) -> None:
    message = await failed_start(kernels.make(cwd=kernels.root / "gone"))
    assert "No such file or directory" in message
    assert "gone" not in message
    assert await kernels.leftovers() == []


async def test_an_environment_that_no_process_can_have_fails_to_start(kernels: Drivers) -> None:
    await failed_start(kernels.make(extra_env={"KERNEL_X": "a\0b"}))
    assert await kernels.leftovers() == []


async def test_a_folder_for_connection_files_that_cannot_be_made_fails_to_start(kernels: Drivers) -> None:
    kernels.connection_dir.write_text("a file")
    await failed_start(kernels.make())
    kernels.connection_dir.unlink()
    assert await kernels.leftovers() == []


async def test_the_connection_file_is_for_its_owner_only(kernels: Drivers) -> None:
    driver = await kernels.start()
    assert stat.S_IMODE(kernels.connection_file(driver).stat().st_mode) == 0o600
    assert kernels.connection_dir.stat().st_mode & 0o777 == 0o700


async def test_the_kernel_runs_in_its_working_directory(kernels: Drivers) -> None:
    driver = await kernels.start()
    assert await run(driver.client, "import os\nstream(os.getcwd())") == str(kernels.root)
    (kernels.root / "data.csv").touch()
    assert driver.resolve_path("data.csv") == str(kernels.root / "data.csv")
    assert driver.resolve_path("missing.csv") is None


async def test_more_stderr_than_a_pipe_holds_does_not_block_the_kernel(kernels: Drivers) -> None:
    driver = await kernels.start()
    code = "import sys\nsys.stderr.write('x' * 1_000_000)\nsys.stderr.flush()\nstream('done')"
    assert await run(driver.client, code) == "done"


# --- environment --------------------------------------------------------------------------------

SHOW_ENV = "import json, os\nstream(json.dumps(dict(os.environ)))"


async def test_the_request_wins_over_the_kernelspec_and_that_over_the_server(kernels: Drivers) -> None:
    add_tiny(kernels, "with_env", env={"SPEC": "spec", "BOTH": "spec", "ALL": "spec", "EXPANDED": "${SERVER}/x"})
    driver = await kernels.start(
        "with_env",
        env={"SERVER": "server", "BOTH": "server", "ALL": "server"},
        extra_env={"REQUEST": "request", "ALL": "request", "LITERAL": "${SERVER}"},
    )
    environ = json.loads(await run(driver.client, SHOW_ENV))
    names = ["SERVER", "SPEC", "REQUEST", "BOTH", "ALL", "EXPANDED", "LITERAL"]
    assert [environ[name] for name in names] == [
        "server", "spec", "request", "spec", "request", "server/x", "${SERVER}",
    ]  # fmt: skip


async def test_secrets_of_the_server_do_not_reach_the_kernel(kernels: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "secret-token")
    monkeypatch.setenv("HARMLESS", "yes")
    driver = await kernels.start(env=server_environment(os.environ))
    environ = json.loads(await run(driver.client, SHOW_ENV))
    assert environ["HARMLESS"] == "yes"
    assert "secret-token" not in environ.values()


async def test_a_variable_that_is_set_later_is_for_the_next_process(kernels: Drivers) -> None:
    driver = await kernels.start(extra_env={"JPY_SESSION_NAME": "/old.ipynb", "KERNEL_X": "stays"})
    driver.set_environment(JPY_SESSION_NAME="/new.ipynb")
    assert json.loads(await run(driver.client, SHOW_ENV))["JPY_SESSION_NAME"] == "/old.ipynb"
    await driver.restart()
    environ = json.loads(await run(driver.client, SHOW_ENV))
    assert (environ["JPY_SESSION_NAME"], environ["KERNEL_X"]) == ("/new.ipynb", "stays")


# --- death --------------------------------------------------------------------------------------


async def test_a_killed_kernel_comes_back_under_the_same_id(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    kernel_id, client, pid = driver.kernel_id, driver.client, driver.pid
    kill(driver)
    await told.until("restarting")
    await client.wait_ready()
    assert (driver.kernel_id, driver.client) == (kernel_id, client)
    assert driver.pid not in (None, pid)
    assert client.generation == 2
    assert await run(client, "stream('alive')") == "alive"


async def test_observers_hear_of_failed_requests_before_the_restart(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    running = await asleep(driver)
    waiting = execute(driver.client, "stream('never')", origin="another")
    kill(driver)
    await told.until("restarting")
    assert told.events == ["requests failed", "restarting"]
    assert [(one.msg_id, one.origin) for one in told.failed] == [(running, "somebody"), (waiting, "another")]
    assert isinstance(told.error, KernelDied)
    assert "SIGKILL" in told.error.message


async def test_the_state_of_a_killed_kernel_is_restarting_with_the_reason(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    kill(driver)
    await told.until("restarting")
    assert told.states == ["restarting"]
    assert "SIGKILL" in told.reason
    await driver.client.wait_ready()
    assert driver.reason is None


async def test_an_awaited_request_fails_when_the_kernel_dies(kernels: Drivers) -> None:
    driver = await kernels.start()
    await asleep(driver)
    request = asyncio.create_task(driver.client.request("shell", "complete_request", timeout_s=TIMEOUT_S))
    await asyncio.sleep(0)
    kill(driver)
    with pytest.raises(KernelDied, match="SIGKILL"):
        await request


async def test_a_death_is_seen_at_once(kernels: Drivers) -> None:
    driver = await kernels.start(restart_backoff_s=0)
    told = Recorder(driver)
    now = asyncio.get_running_loop().time
    taken_s = []
    for count in range(1, 4):
        await driver.client.wait_ready()
        killed = now()
        kill(driver)
        await told.until("restarting", count)
        taken_s.append(now() - killed)
    assert min(taken_s) < 0.4  # looking at it every second would have taken longer


async def test_without_restarts_a_killed_kernel_is_dead_with_the_reason(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=0)
    told = Recorder(driver)
    await asleep(driver)
    kill(driver)
    await told.until("dead")
    assert told.events == ["requests failed", "dead"]
    assert driver.client.execution_state == "dead"
    assert driver.reason == told.reason
    assert driver.reason in (f"The kernel died: killed (SIGKILL){doubt}" for doubt in ("", ", possibly out of memory"))


async def test_a_dead_kernel_leaves_nothing_though_it_is_still_known(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=0)
    told = Recorder(driver)
    kill(driver)
    await told.until("dead")
    assert driver.pid is None
    assert await kernels.leftovers() == []


async def test_a_kernel_that_dies_again_and_again_stays_dead(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=1)
    told = Recorder(driver)
    kill(driver)
    await told.until("restarting")
    await until(lambda: driver.client.state.ready)
    kill(driver)
    await told.until("dead")
    assert told.events == ["restarting", "dead"]
    assert told.reason == driver.reason
    assert told.reason.startswith("The kernel died: killed (SIGKILL)")
    assert driver.client.generation == 2


async def test_a_kernel_that_cannot_be_started_again_stays_dead_with_that_reason(kernels: Drivers) -> None:
    python = add_vanishing(kernels)
    driver = await kernels.start("vanishing", restart_limit=2, restart_backoff_s=0.01)
    told = Recorder(driver)
    python.unlink()
    kill(driver)
    await told.until("dead")
    assert told.events == ["restarting", "restarting", "dead"]
    assert "vanishing" in told.reason
    assert await kernels.leftovers() == []


async def test_a_kernel_that_died_before_is_not_restarted_at_once(kernels: Drivers) -> None:
    driver = await kernels.start(restart_backoff_s=0.3)
    told = Recorder(driver)
    for count in (1, 2):
        kill(driver)
        await told.until("restarting", count)
        told_at = asyncio.get_running_loop().time()
        await driver.client.wait_ready()
    assert asyncio.get_running_loop().time() - told_at >= 0.3


async def test_deaths_long_ago_do_not_count(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=1, restart_window_s=0.000_001)
    told = Recorder(driver)
    for count in range(1, 4):
        await driver.client.wait_ready()
        kill(driver)
        await told.until("restarting", count)
    await driver.client.wait_ready()
    assert "dead" not in told.events


async def test_a_dead_kernel_can_be_restarted(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=0)
    told = Recorder(driver)
    kill(driver)
    await told.until("dead")
    await driver.restart()
    assert driver.client.execution_state == "idle"
    assert driver.reason is None
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_restart_by_the_user_forgets_earlier_deaths(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=1)
    told = Recorder(driver)
    kill(driver)
    await told.until("restarting")
    await driver.client.wait_ready()
    await driver.restart()
    kill(driver)
    await told.until("restarting", 2)
    await driver.client.wait_ready()


# --- restart ------------------------------------------------------------------------------------


async def test_a_restart_replaces_the_process_and_keeps_the_rest(kernels: Drivers) -> None:
    driver = await kernels.start()
    client, pid, session = driver.client, driver.pid, driver.client.kernel_session
    inbox = Inbox(client)
    await run(client, "x = 1")
    await driver.restart()
    assert driver.client is client
    assert client.generation == 2
    assert client.execution_state == "idle"
    assert driver.pid not in (None, pid)
    assert not psutil.pid_exists(pid or 0)
    assert client.kernel_session != session
    assert await run(client, "stream(str('x' in globals()))") == "False"
    assert inbox.texts() == ["False"]


async def test_a_restart_fails_the_requests_in_flight(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    msg_id = await asleep(driver)
    request = asyncio.create_task(driver.client.request("shell", "complete_request", timeout_s=TIMEOUT_S))
    await asyncio.sleep(0)
    await driver.restart()
    with pytest.raises(KernelRestarted):
        await request
    assert told.events == ["requests failed"]
    assert [one.msg_id for one in told.failed] == [msg_id]
    assert isinstance(told.error, KernelRestarted)
    assert driver.client.pending == 0


async def test_nothing_of_the_old_queue_reaches_the_new_process(kernels: Drivers) -> None:
    driver = await kernels.start()
    await asleep(driver)
    inbox = Inbox(driver.client)
    for _ in range(20):
        execute(driver.client, "import os\nstream(f'before {os.getpid()}')")
    await driver.restart()
    execute(driver.client, "import os\nstream(f'after {os.getpid()}')")
    await inbox.until_text(f"after {driver.pid}")
    assert f"before {driver.pid}" not in inbox.texts()


async def test_what_is_sent_during_a_restart_reaches_the_new_process(kernels: Drivers) -> None:
    driver = await kernels.start()
    inbox = Inbox(driver.client)
    restart = asyncio.create_task(driver.restart())
    await asyncio.sleep(0)
    await until(lambda: driver.client.execution_state == "restarting", every_s=0)
    execute(driver.client, "stream('sent meanwhile')")
    await restart
    await inbox.until_text("sent meanwhile")


async def test_two_restarts_at_once_are_one(kernels: Drivers) -> None:
    driver = await kernels.start()
    await asyncio.gather(driver.restart(), driver.restart())
    assert driver.client.generation == 2
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_restart_replaces_a_process_that_is_still_starting(kernels: Drivers) -> None:
    driver = kernels.make("tiny_slow")
    start = asyncio.create_task(driver.start())
    before = await until_pid(driver)
    msg_id = execute(driver.client, "1", origin=object())
    told = Recorder(driver)
    await driver.restart()
    await start  # which has got the kernel that it wanted
    assert driver.pid != before
    assert not psutil.pid_exists(before)
    assert [one.msg_id for one in told.failed] == [msg_id]
    assert driver.client.execution_state == "idle"


async def test_a_restart_that_comes_before_the_start_is_the_start(kernels: Drivers) -> None:
    """A request that starts a kernel may be answered before the start has had its turn."""
    driver = kernels.make()
    await asyncio.gather(driver.restart(), driver.start())
    assert driver.client.generation == 1
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_restart_replaces_one_that_hangs_and_both_are_answered(kernels: Drivers) -> None:
    flag = kernels.root / "flag"
    command = f"test -e {flag} && sleep 3600; exec {sys.executable} {KERNEL} plain $0"
    add_tiny(kernels, "hanging", argv=["sh", "-c", command, "{connection_file}"])
    driver = await kernels.start("hanging")
    flag.touch()
    hanging = asyncio.create_task(driver.restart())
    await until(lambda: driver.client.generation == 2, every_s=0)
    flag.unlink()
    await driver.restart()
    await hanging
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_restart_ends_the_wait_before_a_dead_kernel_is_restarted(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=2, restart_backoff_s=3_600)
    told = Recorder(driver)
    kill(driver)
    await told.until("restarting")
    await driver.client.wait_ready()
    kill(driver)
    await told.until("restarting", 2)
    await driver.restart()
    assert driver.client.execution_state == "idle"
    assert driver.reason is None


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_a_shutdown_at_any_moment_of_a_restart_leaves_nothing(kernels: Drivers, turns: int) -> None:
    driver = await kernels.start()
    restart = asyncio.create_task(driver.restart())
    for _ in range(turns):
        await asyncio.sleep(0)
    await driver.shutdown(now=True)
    await asyncio.gather(restart, return_exceptions=True)
    assert await kernels.leftovers() == []


async def test_a_restart_of_a_kernel_that_does_not_want_to_end_is_bounded(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_ignores_sigterm", shutdown_wait_time_s=0.4)
    pid = driver.pid
    async with asyncio.timeout(60):
        await driver.restart()
    assert driver.pid != pid
    assert not psutil.pid_exists(pid or 0)


async def test_a_restart_that_fails_leaves_a_dead_kernel_that_can_be_restarted(kernels: Drivers) -> None:
    python = add_vanishing(kernels)
    driver = await kernels.start("vanishing")
    told = Recorder(driver)
    python.rename(kernels.share / "elsewhere")
    with pytest.raises(KernelStartFailed, match="vanishing"):
        await driver.restart()
    assert driver.client.execution_state == "dead"
    assert told.events == ["dead"]
    assert await kernels.leftovers() == []
    (kernels.share / "elsewhere").rename(python)
    await driver.restart()
    assert driver.client.execution_state == "idle"


async def test_a_restart_that_nobody_waits_for_any_more_goes_on(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_slow")
    restart = asyncio.create_task(driver.restart())
    await until(lambda: driver.client.generation == 2, every_s=0)
    await cancel_and_wait(restart)
    await driver.client.wait_ready()
    assert driver.client.execution_state == "idle"
    assert driver.client.generation == 2


# --- interrupt ----------------------------------------------------------------------------------


async def interrupted(driver: KernelDriver) -> str:
    """Interrupt a cell that runs; returns the name of the exception it got."""
    inbox = Inbox(driver.client)
    await asleep(driver)
    await driver.interrupt()
    return str((await inbox.until_type("execute_reply")).content["ename"])


async def test_interrupt_by_signal(kernels: Drivers) -> None:
    driver = await kernels.start()
    assert await interrupted(driver) == "KeyboardInterrupt"
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_interrupt_by_message(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_message_interrupt")
    assert await interrupted(driver) == "Interrupted"
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_an_interrupt_reaches_the_programs_that_a_cell_runs(kernels: Drivers) -> None:
    driver = await kernels.start()
    inbox = Inbox(driver.client)
    execute(driver.client, f"import subprocess\nprogram = subprocess.Popen(['sleep', '60'])\n{SLEEP}")
    await inbox.until_text("asleep")
    await driver.interrupt()
    await inbox.until_type("execute_reply")
    assert await run(driver.client, "stream(str(program.wait(10)))") == str(-signal.SIGINT)


async def test_an_interrupt_at_the_start_drops_the_cells_that_wait_and_leaves_the_process_alone(
    kernels: Drivers,
) -> None:
    driver = kernels.make("tiny_slow")
    inbox = Inbox(driver.client)
    told = Recorder(driver)
    start = asyncio.create_task(driver.start())
    await until_pid(driver)
    client = object()
    dropped = [execute(driver.client, f"stream('dropped {n}')", origin=client) for n in range(2)]
    driver.client.send("shell", message_frames("kernel_info_request", {}), client)
    failed: list[tuple[str, Exception]] = []
    told.on_requests_failed = lambda requests, error: failed.extend((one.msg_id, error) for one in requests)  # type: ignore[method-assign]
    await driver.interrupt()
    await driver.interrupt()  # of which there is nothing left to drop
    execute(driver.client, "stream('kept')", origin=client)
    await start
    await inbox.until_text("kept")
    assert [msg_id for msg_id, _ in failed] == dropped
    assert [type(error) for _, error in failed] == [KernelInterrupted, KernelRestarted]
    await inbox.until_type("kernel_info_reply")  # on another channel, so it may come after the text
    assert inbox.texts() == ["kept"]


async def test_an_interrupt_during_a_restart_drops_the_cells_that_wait(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_slow")
    inbox = Inbox(driver.client)
    restart = asyncio.create_task(driver.restart())
    await until(lambda: driver.client.execution_state == "restarting", every_s=0)
    execute(driver.client, "stream('dropped')", origin=driver)
    await driver.interrupt()
    execute(driver.client, "stream('kept')", origin=driver)
    await restart
    await inbox.until_text("kept")
    assert inbox.texts() == ["kept"]


async def test_a_dead_kernel_cannot_be_interrupted(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    await failed_start(driver)
    with pytest.raises(Conflict, match="exited with code 3"):
        await driver.interrupt()


# --- shutdown -----------------------------------------------------------------------------------


async def test_a_shutdown_asks_the_kernel_and_leaves_nothing(kernels: Drivers) -> None:
    driver = await kernels.start()
    mark = kernels.root / "asked"
    await run(driver.client, f"import os\nexit_ = os._exit\nos._exit = lambda n: (open({str(mark)!r}, 'w'), exit_(n))")
    await driver.shutdown()
    assert mark.exists()
    assert await kernels.leftovers() == []


async def test_a_kernel_that_was_shut_down_is_dead_and_says_why(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    await driver.shutdown()
    assert driver.client.execution_state == "dead"
    assert told.events == ["dead"]
    assert told.reason == "The kernel was shut down"


async def test_a_busy_kernel_is_shut_down_and_its_requests_fail(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    msg_id = await asleep(driver)
    await driver.shutdown(now=True)
    assert told.events == ["requests failed", "dead"]
    assert [one.msg_id for one in told.failed] == [msg_id]
    assert await kernels.leftovers() == []


async def test_a_kernel_that_does_not_want_to_end_is_killed_in_bounded_time(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_ignores_sigterm", shutdown_wait_time_s=0.4)
    async with asyncio.timeout(60):
        await driver.shutdown()
    assert await kernels.leftovers() == []


async def run_program(driver: KernelDriver) -> psutil.Process:
    """Have the kernel start a program that goes on by itself."""
    pid = await run(driver.client, "import subprocess\nstream(str(subprocess.Popen(['sleep', '600']).pid))")
    return psutil.Process(int(pid))


async def ended(process: psutil.Process) -> bool:
    """Whether the process is gone, at once or soon; a zombie has ended too, whoever may bury it."""
    for _ in range(100):
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("name", ["tiny_plain", "tiny_ignores_sigterm"])
@pytest.mark.parametrize("now", [True, False])
async def test_programs_that_the_kernel_started_end_with_it(kernels: Drivers, name: str, now: bool) -> None:
    driver = await kernels.start(name, shutdown_wait_time_s=0.4)
    program = await run_program(driver)
    await driver.shutdown(now=now)
    try:
        assert await ended(program)
    finally:
        if not await ended(program):
            program.kill()


async def test_a_shutdown_now_does_not_ask(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_ignores_sigterm", shutdown_wait_time_s=3_600)
    await driver.shutdown(now=True)
    assert await kernels.leftovers() == []


async def test_a_kernel_can_be_shut_down_twice(kernels: Drivers) -> None:
    driver = await kernels.start()
    told = Recorder(driver)
    await driver.shutdown()
    await driver.shutdown()
    assert told.events == ["dead"]


async def test_two_shutdowns_at_once_both_wait_for_the_end(kernels: Drivers) -> None:
    driver = await kernels.start()
    pid = driver.pid

    async def shut_down() -> bool:
        await driver.shutdown()
        return psutil.pid_exists(pid or 0)

    assert [*await asyncio.gather(shut_down(), shut_down())] == [False, False]


async def test_a_shutdown_ends_a_start_that_waits_for_the_kernel(kernels: Drivers) -> None:
    driver = kernels.make("tiny_silent")
    start = asyncio.create_task(driver.start())
    await until_pid(driver)
    await driver.shutdown()
    with pytest.raises(Conflict, match="shut down before it was ready"):
        await start
    assert driver.client.execution_state == "dead"
    assert await kernels.leftovers() == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_a_shutdown_at_any_moment_of_the_start_leaves_nothing(kernels: Drivers, turns: int) -> None:
    driver = kernels.make()
    start = asyncio.create_task(driver.start())
    await until(kernels.connection_file(driver).exists, every_s=0)
    for _ in range(turns):
        await asyncio.sleep(0)
    await driver.shutdown()
    await asyncio.gather(start, return_exceptions=True)
    assert await kernels.leftovers() == []


async def test_a_shutdown_ends_a_restart(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_slow")
    restart = asyncio.create_task(driver.restart())
    await until(lambda: driver.client.generation == 2, every_s=0)
    await driver.shutdown()
    with pytest.raises(Conflict):
        await restart
    assert await kernels.leftovers() == []


async def test_a_shutdown_ends_a_restart_that_waits_for_the_end_of_the_old_process(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_ignores_sigterm", shutdown_wait_time_s=3_600)
    restart = asyncio.create_task(driver.restart())
    await until(lambda: driver.client.execution_state == "restarting", every_s=0)
    await driver.shutdown(now=True)
    with pytest.raises(Conflict):
        await restart
    assert await kernels.leftovers() == []


async def test_a_shutdown_does_not_wait_until_a_dead_kernel_is_restarted(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=2, restart_backoff_s=3_600)
    told = Recorder(driver)
    kill(driver)
    await told.until("restarting")
    await driver.client.wait_ready()
    kill(driver)
    await told.until("restarting", 2)
    async with asyncio.timeout(60):
        await driver.shutdown()
    assert told.events[-1] == "dead"
    assert await kernels.leftovers() == []


async def test_a_dead_kernel_can_be_shut_down(kernels: Drivers) -> None:
    driver = await kernels.start(restart_limit=0)
    told = Recorder(driver)
    kill(driver)
    await told.until("dead")
    await driver.shutdown()
    assert driver.client.execution_state == "dead"


async def test_a_kernel_that_was_never_started_can_be_shut_down(kernels: Drivers) -> None:
    driver = kernels.make()
    await driver.shutdown()
    assert driver.client.execution_state == "dead"


async def test_after_a_shutdown_there_is_no_start_and_no_restart(kernels: Drivers) -> None:
    driver = await kernels.start()
    await driver.shutdown()
    with pytest.raises(Conflict):
        await driver.restart()
    with pytest.raises(Conflict):
        await driver.start()


# --- encryption ---------------------------------------------------------------------------------


def connection(kernels: Drivers, driver: KernelDriver) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(kernels.connection_file(driver).read_text())
    return info


async def eavesdrop(kernels: Drivers, driver: KernelDriver) -> list[bytes]:
    """What a plain SUB socket hears on iopub of "stream('secret')"; [] when it is not let in.

    Libzmq tells when the handshake is over, one way or the other.
    """
    socket = kernels.context.socket(zmq.SUB)
    socket.linger = 0
    failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | failed)
    monitor.rcvtimeo = socket.rcvtimeo = TIMEOUT_S * 1000
    try:
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{connection(kernels, driver)['iopub_port']}")
        event = await asyncio.to_thread(recv_monitor_message, monitor)
        heard: list[bytes] = []
        if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            # The subscription may come after the first messages: repeat them.
            while not await asyncio.to_thread(socket.poll, 50):
                await run(driver.client, "stream('secret')")
            heard = socket.recv_multipart()
        else:
            assert await run(driver.client, "stream('secret')") == "secret"
            with pytest.raises(zmq.Again):
                socket.recv(zmq.NOBLOCK)
        return heard
    finally:
        socket.disable_monitor()
        monitor.close()
        socket.close()


async def test_a_kernel_that_can_is_encrypted_and_others_hear_nothing(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_curve", encryption="auto")
    assert connection(kernels, driver)["curve_publickey"]
    assert await eavesdrop(kernels, driver) == []


async def test_an_encrypted_kernel_stays_so_after_a_restart(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_curve", encryption="auto")
    await driver.restart()
    assert connection(kernels, driver)["curve_publickey"]
    assert await run(driver.client, "stream('alive')") == "alive"


async def test_a_kernel_that_cannot_is_not_encrypted_by_auto(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_plain", encryption="auto")
    assert not connection(kernels, driver).get("curve_publickey")


async def test_required_encryption_refuses_a_kernel_that_cannot(kernels: Drivers) -> None:
    message = await failed_start(kernels.make("tiny_plain", encryption="required"))
    assert "encryption" in message
    assert await kernels.leftovers() == []


async def test_required_encryption_takes_a_kernel_that_can(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_curve", encryption="required")
    assert connection(kernels, driver)["curve_publickey"]


async def test_without_encryption_everybody_can_listen(kernels: Drivers) -> None:
    driver = await kernels.start("tiny_curve", encryption="disabled")
    assert not connection(kernels, driver).get("curve_publickey")
    assert await eavesdrop(kernels, driver)


# --- ipykernel ----------------------------------------------------------------------------------


async def test_ipykernel_executes_is_interrupted_and_restarted(kernels: Drivers) -> None:
    driver = await kernels.start("python3")
    client = driver.client
    assert connection(kernels, driver)["curve_publickey"]
    assert await run(client, "x = 6 * 7; print(x)") == "42\n"

    inbox = Inbox(client)
    execute(client, "print('asleep', flush=True)\nimport time\nwhile True: time.sleep(0.05)")
    await inbox.until_type("stream")
    await driver.interrupt()
    assert (await inbox.until_type("execute_reply")).content["ename"] == "KeyboardInterrupt"

    await driver.restart()
    assert await run(client, "print('x' in globals())") == "False\n"
    await driver.shutdown()
    assert await kernels.leftovers() == []
