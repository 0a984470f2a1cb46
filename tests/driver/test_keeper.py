"""The keeper itself: who may talk to it, how it begins and ends, and what it does with servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from fps_kernels.errors import QueueFull
from fps_kernels.keeper.keeper_folder import BadKeeperFolder, KeeperFolder
from fps_kernels.keeper.keeper_wire import CALL, PROTOCOL, encode, encode_json
from fps_kernels.keeper.record import PATIENCE
from fps_kernels.keeper.server_connection import WRITE_HIGH_BYTES
from fps_kernels.kept import keeper_client, keeper_connection
from fps_kernels.kept.keeper_client import KeeperClient, RefusedByKeeper
from fps_kernels.kept.keeper_start import KeeperUnavailable
from fps_kernels.kept.kept_channels import RecordListener
from fps_kernels.kept.kept_process import KeptProcess
from fps_kernels.serving.rlimits import WANTED_FILES

from ..support.drivers import Inbox, execute, run
from ..support.keepers import Keepers, RawServer, is_running, summary_of, until_summary
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

HELLO = encode_json(CALL, {"do": "hello", "id": 1, "server": "raw", "protocol": PROTOCOL})


async def test_it_leaves_nothing_open_to_others(keepers: Keepers, keeper: KeeperClient) -> None:
    assert stat.S_IMODE(keepers.state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(keepers.state.socket.stat().st_mode) == 0o600
    await keepers.start(keeper)
    (stderr,) = keepers.state.kernels.iterdir()
    assert stat.S_IMODE(stderr.stat().st_mode) == 0o600
    described = json.loads(keepers.state.description.read_text())
    assert (described["uuid"], described["protocol"]) == (keeper.uuid, PROTOCOL)


async def test_it_may_open_as_many_files_as_a_server(keepers: Keepers) -> None:
    """It has the sockets of all kernels: a limit of 1,024, as of many systems, is that of 90."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        await keepers.connect()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert keepers.process().rlimit(psutil.RLIMIT_NOFILE)[0] == min(WANTED_FILES, hard)


async def test_it_is_nobodys_child_and_has_no_secret(keepers: Keepers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KG_AUTH_TOKEN", "JPY_PARENT_PID", "LISTEN_FDS", "NOTIFY_SOCKET", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.setenv(name, "1")
    await keepers.connect()
    process = keepers.process()
    assert process.ppid() != os.getpid()
    assert os.getsid(process.pid) != os.getsid(0)
    assert not {"KG_AUTH_TOKEN", "JPY_PARENT_PID", "LISTEN_FDS"} & process.environ().keys()
    assert process.environ().keys() >= {"PATH"}


async def test_servers_that_start_at_once_come_to_one_keeper(keepers: Keepers) -> None:
    clients = await asyncio.gather(*(keepers.connect() for _ in range(5)))
    assert len({client.uuid for client in clients}) == 1
    found = [one for one in psutil.process_iter(["cmdline"]) if str(keepers.state.path) in (one.info["cmdline"] or ())]
    assert [one.pid for one in found] == [keepers.pid()]


async def test_a_second_keeper_ends_at_once(keepers: Keepers, keeper: KeeperClient) -> None:
    command = [sys.executable, "-m", "fps_kernels.keeper", "--dir", str(keepers.state.path)]
    second = await asyncio.create_subprocess_exec(*command)
    assert await second.wait() == 3
    assert await keeper.call("kernels")


async def test_a_socket_of_a_dead_keeper_is_replaced(keepers: Keepers) -> None:
    keepers.state.prepare()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(keepers.state.socket))
    keeper = await keepers.connect()
    assert (await keeper.call("kernels"))["kernels"] == []


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "unknown kind"),
        (b"\xff\xff\xff\xff\x11\0\0\0\0", "at most"),
        (encode(CALL, 0, b"not json"), "not valid JSON"),
        (encode(CALL, 0, b"[]"), "not a JSON object"),
        (encode_json(CALL, {"do": "kernels", "id": 1}), "hello first"),
        (HELLO + encode(16, 1, b"\0"), "cut off"),
        (HELLO + encode(16, 1, b"\0\1\0\xff\0\0\0ab"), "do not add up"),
        (HELLO + encode(1, 1, b""), "servers do not send"),
    ],
)
async def test_garbage_closes_that_connection_with_a_reason(
    keepers: Keepers, keeper: KeeperClient, garbage: bytes, reason: str
) -> None:
    driver = await keepers.start(keeper)
    raw = await RawServer.connect(keepers.state)
    raw.writer.write(garbage)
    *_, closed = await raw.events()
    assert closed["event"] == "closed"
    assert reason in closed["reason"]
    assert await run(driver.client, "stream('unharmed')") == "unharmed"


async def test_calls_that_are_wrong_are_answered_with_an_error(keepers: Keepers, keeper: KeeperClient) -> None:
    async def refused(do: str, **fields: Any) -> str:
        with pytest.raises(RefusedByKeeper) as refusal:
            await keeper.call(do, **fields)
        return refusal.value.message

    assert "unknown call: nonsense" in await refused("nonsense")
    assert "No kernel" in await refused("signal", kernel="none", generation=1, signum=2)
    assert "argv" in await refused("run", kernel="a", argv=[1], env={})
    assert "env" in await refused("run", kernel="a", argv=["a"])
    assert "id of a kernel" in await refused("run", kernel="../../a", argv=["a"], env={})
    driver = await keepers.start(keeper)
    name = {"kernel": driver.kernel_id}
    assert "signum" in await refused("signal", signum=0, **name)
    assert "process 7" in await refused("signal", generation=7, signum=2, **name)
    assert "its process runs" in await refused("run", argv=["a"], env={}, **name)
    assert "not a port" in await refused("hold", info={}, identity="", **name)
    assert await run(driver.client, "stream('well')") == "well"


async def test_a_server_of_another_protocol_is_told_what_runs(keepers: Keepers, keeper: KeeperClient) -> None:
    raw = await RawServer.connect(keepers.state)
    raw.writer.write(encode_json(CALL, {"do": "hello", "id": 1, "server": "new", "protocol": PROTOCOL + 1}))
    answer, closed = await raw.events()
    assert answer["protocol"] == PROTOCOL
    assert "holds 0 kernels" in answer["error"]
    assert closed["event"] == "closed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_refused(tmp_path: Path) -> None:
    """Even one that can reach the socket."""
    folder = KeeperFolder(tmp_path)
    tmp_path.chmod(0o700)
    command = [sys.executable, "-m", "fps_kernels.keeper", "--dir", str(tmp_path)]
    with subprocess.Popen(command) as keeper:
        deadline = time.monotonic() + 30
        while not folder.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for path in (tmp_path, *list(tmp_path.parents)[:-2]):
            path.chmod(path.stat().st_mode | 0o711)
        folder.socket.chmod(0o777)
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
            "s.settimeout(20); s.connect(sys.argv[1])\n"
            "while data := s.recv(4096): sys.stdout.buffer.write(data)"
        )
        stranger = subprocess.run(
            [sys.executable, "-c", code, str(folder.socket)], capture_output=True, timeout=30, check=False
        )
        keeper.terminate()
    assert b"another user" in stranger.stdout
    assert b"protocol" not in stranger.stdout


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(BadKeeperFolder, match="others can look into it"):
        KeeperFolder(folder).prepare()
    done = subprocess.run(
        [sys.executable, "-m", "fps_kernels.keeper", "--dir", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_other_folders_that_cannot_be_are_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(0o700)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(BadKeeperFolder, match="it is a link"):
        KeeperFolder(tmp_path / "link").prepare()
    with pytest.raises(BadKeeperFolder, match="of which 107 are possible"):
        KeeperFolder(tmp_path / ("long" * 30)).prepare()
    (tmp_path / "file").touch()
    with pytest.raises(BadKeeperFolder):
        KeeperFolder(tmp_path / "file").prepare()


async def test_sigterm_ends_its_kernels_and_leaves_nothing(keepers: Keepers, keeper: KeeperClient) -> None:
    drivers = [await keepers.start(keeper), await keepers.start(keeper, "tiny_ignores_sigterm")]
    processes = [keepers.process(), *(psutil.Process(driver.pid) for driver in drivers)]
    await keeper.leave()
    began = time.monotonic()
    processes[0].terminate()
    await until(lambda: not any(map(is_running, processes)))
    assert time.monotonic() - began < 20
    assert sorted(path.name for path in keepers.state.path.iterdir()) == ["keeper.lock", "keeper.log", "kernels"]
    assert not list(keepers.state.kernels.iterdir())
    assert not list(keepers.connection_dir.glob("*.json"))


async def test_kernels_without_a_server_are_ended_after_the_timeout(keepers: Keepers) -> None:
    keeper = await keepers.connect(orphan_timeout_s=1)
    driver = await keepers.start(keeper)
    kernel, process = psutil.Process(driver.pid), keepers.process()
    await asyncio.sleep(2.5)  # longer than the timeout: a server that is there keeps them
    assert is_running(kernel)
    await keeper.leave()
    await until(lambda: not is_running(kernel) and not is_running(process))
    assert not list(keepers.connection_dir.glob("*.json"))


async def test_it_ends_when_there_is_nothing_to_keep(keepers: Keepers) -> None:
    keepers.state.prepare()
    command = [sys.executable, "-m", "fps_kernels.keeper", "--dir", str(keepers.state.path), "--idle-timeout-s", "0.5"]
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0
    assert not keepers.state.socket.exists()


async def test_kernels_that_are_left_go_on(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    process = psutil.Process(driver.pid)
    await keeper.leave()
    await driver.shutdown(now=True)  # has no effect on what is left
    assert is_running(process)
    assert list(keepers.connection_dir.glob("*.json"))
    summary = await summary_of(await keepers.connect(), driver.kernel_id)
    assert (summary["running"], summary["connected"]) == (True, True)


async def test_a_keeper_that_is_stopped_is_waited_for(
    keepers: Keepers, keeper: KeeperClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_connection, "SILENCE_S", 0.5)
    monkeypatch.setattr(keeper_connection, "PING_INTERVAL_S", 0.3)
    monkeypatch.setattr(keeper_client, "CALL_TIMEOUT_S", 1.0)
    keeper = await keepers.connect()
    driver = await keepers.start(keeper)
    changes: list[bool] = []
    keeper.on_change = lambda: changes.append(keeper.well)
    process = keepers.process()
    process.suspend()
    inbox = Inbox(driver.client)
    msg_id = execute(driver.client, "stream('late')")
    await until(lambda: changes == [False])
    with pytest.raises(KeeperUnavailable, match="does not answer"):
        await keeper.call("kernels", timeout_s=0.1)
    with pytest.raises(KeeperUnavailable, match="does not answer"):
        await KeeperClient(keepers.state).start()
    large = bytes(40 * 1024 * 1024)
    for _ in range(3):
        try:
            keeper.send(1, "stdin", b"", [large])
        except QueueFull:
            break
    else:
        pytest.fail("what waits for a keeper that does not read is not bounded")
    process.resume()
    await inbox.until_reply(msg_id)
    await until(lambda: changes == [False, True])


async def test_a_server_that_does_not_read_makes_nothing_grow(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    slow = await RawServer.connect(keepers.state)
    attach = {"do": "attach", "id": 2, "kernel": driver.kernel_id}
    slow.writer.write(HELLO + encode_json(CALL, attach))
    await until_summary(keeper, driver.kernel_id, lambda summary: summary["servers"] == 2)
    slow.pause()
    await keeper.call("facts", kernel=driver.kernel_id, facts={"a": 1})
    size, count = 256 * 1024, 1600
    inbox = Inbox(driver.client)
    before = keepers.process().memory_info().rss
    pinging = asyncio.create_task(slow.ping())
    for first in range(0, count, 100):  # less than the bounds at a time: this server keeps up, however busy it is
        code = f"for n in range({first}, {first + 100}): stream(str(n) + ' ' * {size})"
        await inbox.until_idle(execute(driver.client, code))
    assert [int(text) for text in inbox.texts()] == list(range(count))
    kept = (await summary_of(keeper, driver.kernel_id))["bytes"]
    most = PATIENCE * 64 * 1024 * 1024
    assert size * 100 < kept <= most
    grown = keepers.process().memory_info().rss - before
    assert grown < most + 8 * WRITE_HIGH_BYTES < size * count

    async def shrunk() -> bool:
        await inbox.until_idle(execute(driver.client, ""))
        return int((await summary_of(keeper, driver.kernel_id))["bytes"]) <= 64 * 1024 * 1024

    await until(shrunk)  # it is not waited for any longer
    slow.resume()
    numbers, gaps = await slow.streams_until(count - 1)
    pinging.cancel()
    assert numbers == sorted(set(numbers))
    assert len(numbers) + gaps >= count


async def test_what_fell_out_of_the_bounds_is_told(keepers: Keepers, keeper: KeeperClient) -> None:
    class Heard(RecordListener):
        gaps = 0

        def on_gap(self, messages: int | None) -> None:
            Heard.gaps += messages or 0

    driver = await keepers.start(keeper)
    seq = (await summary_of(keeper, driver.kernel_id))["next_seq"]
    inbox = Inbox(driver.client)
    await inbox.until_idle(execute(driver.client, f"for n in range(100): stream(str(n) + ' ' * {1 << 20})"))
    await keeper.leave()
    other = await keepers.connect()
    process = await KeptProcess.adopt(other, await summary_of(other, driver.kernel_id), seq)
    process.listener = Heard()
    second = keepers.make(other, adopted=process)
    inbox = Inbox(second.client)
    await second.start()
    await until(lambda: "99" in [text.strip() for text in inbox.texts()])
    numbers = [int(text) for text in inbox.texts()]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 50
    assert numbers[0] <= Heard.gaps <= numbers[0] + 3  # with busy and execute_input


async def test_kernels_outlive_a_keeper_that_is_killed(keepers: Keepers, keeper: KeeperClient) -> None:
    class Heard(RecordListener):
        gaps: list[int | None]

        def on_gap(self, messages: int | None) -> None:
            self.gaps.append(messages)

    driver = await keepers.start(keeper)
    process = driver._process
    assert isinstance(process, KeptProcess)
    heard = Heard()
    heard.gaps = []
    process.listener = heard
    await driver.restart()
    process = driver._process
    assert isinstance(process, KeptProcess)
    process.listener = heard
    process.channels._listener = heard  # type: ignore[union-attr]
    keepers.note_processes()
    pid, uuid = driver.pid, keeper.uuid
    keepers.process().kill()
    await until(lambda: keeper.uuid != uuid and keeper.well)
    keepers.note_processes()
    await until(lambda: heard.gaps == [None])
    summary = await until_summary(keeper, driver.kernel_id, lambda summary: summary["connected"])
    assert (summary["pid"], summary["generation"], summary["running"]) == (pid, 2, True)
    inbox = Inbox(driver.client)
    driver.client.ask_now("shell", "kernel_info_request")  # whoever takes an identity over must send first
    await inbox.until_reply(execute(driver.client, "stream('well')"))
    os.kill(pid or 0, signal.SIGKILL)
    status = await process.exited
    assert status.code is None


async def test_a_kernel_that_ended_with_its_keeper_is_not_taken_for_another(
    keepers: Keepers, keeper: KeeperClient
) -> None:
    driver = await keepers.start(keeper, restart_limit=0)
    process = driver._process
    assert isinstance(process, KeptProcess)
    process._start_time = "1"  # as if another process had its number
    keepers.process().kill()
    status = await process.exited
    assert "kept it" in status.reason
    os.kill(process.pid or 0, signal.SIGKILL)


async def command(*arguments: str) -> tuple[int, str]:
    """Run `fps-kernels keeper` with arguments; returns its exit code and what it wrote."""
    code = "import sys; from fps_kernels.gateway.app import main; main(['keeper', *sys.argv[1:]])"
    pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, stdout=pipe, stderr=same)
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_command_says_what_is_kept_and_ends_it(keepers: Keepers, keeper: KeeperClient) -> None:
    driver = await keepers.start(keeper)
    process, kernel = keepers.process(), psutil.Process(driver.pid)
    folder = ("--dir", str(keepers.state.path))
    code, output = await command("status", *folder)
    assert code == 0, output
    assert keeper.uuid in output
    assert f"{driver.kernel_id}  tiny_plain  pid {driver.pid}" in output
    await keeper.leave()
    code, output = await command("stop", *folder)
    assert (code, output.count("\n")) == (0, 1), output
    assert "1 kernel\n" in output
    await until(lambda: not is_running(process) and not is_running(kernel))
    code, output = await command("status", *folder)
    assert (code, output.count("\n")) == (1, 1), output
    assert "There is no keeper" in output


def test_what_the_keeper_imports() -> None:
    code = "import sys, json, fps_kernels.keeper.keeper_main; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "zmq" in loaded
    assert loaded.isdisjoint({"starlette", "fastapi", "uvicorn", "jupyter_client", "traitlets", "pydantic", "tornado"})
