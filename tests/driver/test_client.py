"""The shared client, talking to real kernels: queue, requests, routes, garbage, state."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq

from fps_kernels.errors import KernelDied, KernelNotConnected, KernelTimeout, MalformedMessage, QueueFull
from fps_kernels.kernel_driver.client import QUEUE_BYTES, QUEUE_MESSAGES, KernelClient
from fps_kernels.kernel_driver.connection_file import ConnectionInfo
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.message import Message, RequestHeader, peek_msg_id

from ..support.drivers import TIMEOUT_S, Drivers, Inbox, Recorder, execute, message_frames, run
from ..support.externals import CHANNELS
from ..support.kernelspecs import KERNEL
from ..support.ports import free_ports

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as context:
        yield context


# --- before the kernel is ready -----------------------------------------------------------------


async def test_messages_sent_before_the_kernel_is_ready_are_delivered_in_order(kernels: Drivers) -> None:
    driver = kernels.make()
    inbox = Inbox(driver.client)
    for number in range(20):
        execute(driver.client, f"stream('{number}')")
    assert driver.client.pending == 20
    await driver.start()
    await inbox.until_text("19")
    assert inbox.texts() == [str(number) for number in range(20)]


async def test_what_is_sent_at_readiness_does_not_overtake_what_waits(kernels: Drivers) -> None:
    driver = kernels.make()
    inbox = Inbox(driver.client)
    execute(driver.client, "stream('first')")

    def when_ready() -> None:
        if driver.client.state.ready:
            execute(driver.client, "stream('second')")

    driver.client.add_state_listener(when_ready)
    await driver.start()
    await inbox.until_text("second")
    assert inbox.texts() == ["first", "second"]


async def test_a_request_of_our_own_waits_until_the_kernel_is_ready(kernels: Drivers) -> None:
    driver = kernels.make()
    request = asyncio.create_task(driver.client.request("shell", "complete_request", timeout_s=TIMEOUT_S))
    await asyncio.sleep(0)
    await driver.start()
    assert (await request).content["matches"] == ["tiny"]


async def test_the_queue_is_bounded_by_messages(kernels: Drivers) -> None:
    client = kernels.make().client
    for _ in range(QUEUE_MESSAGES):
        execute(client, "")
    with pytest.raises(QueueFull):
        execute(client, "")
    assert client.pending == QUEUE_MESSAGES


async def test_the_queue_is_bounded_by_bytes(kernels: Drivers) -> None:
    client = kernels.make().client
    quarter = bytes(QUEUE_BYTES // 4)
    for _ in range(3):
        client.send("shell", message_frames("comm_msg", {}, buffers=[quarter]))
    with pytest.raises(QueueFull):
        client.send("shell", message_frames("comm_msg", {}, buffers=[quarter]))
    assert client.pending == 3


async def test_the_bytes_of_the_queue_are_free_again_once_it_is_sent(kernels: Drivers) -> None:
    driver = kernels.make()
    large = bytes(QUEUE_BYTES - 10_000)
    driver.client.send("shell", message_frames("comm_msg", {}, buffers=[large]))
    await driver.start()
    driver.client.disconnect()
    driver.client.send("shell", message_frames("comm_msg", {}, buffers=[large]))


async def test_what_waits_fails_when_the_kernel_does_not_start(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    told = Recorder(driver)
    msg_id = execute(driver.client, "stream('never')")
    await asyncio.gather(driver.start(), return_exceptions=True)
    assert told.events == ["requests failed", "dead"]
    assert [one.msg_id for one in told.failed] == [msg_id]
    assert driver.client.pending == 0


async def test_what_failed_is_not_sent_to_the_next_process(kernels: Drivers) -> None:
    driver = kernels.make("appears_later")
    inbox = Inbox(driver.client)
    execute(driver.client, "stream('failed')")
    await asyncio.gather(driver.start(), return_exceptions=True)
    shutil.copytree(kernels.share / "kernels" / "tiny_plain", kernels.share / "kernels" / "appears_later")
    await driver.restart()
    await inbox.until_idle(execute(driver.client, "stream('sent')"))
    assert inbox.texts() == ["sent"]


async def test_wait_ready_returns_when_the_kernel_is_ready(kernels: Drivers) -> None:
    driver = kernels.make()
    ready = asyncio.create_task(driver.client.wait_ready())
    await asyncio.sleep(0)
    assert not ready.done()
    await driver.start()
    await ready
    assert driver.client.execution_state == "idle"


@pytest.mark.parametrize("channel", ["shell", "stdin", "iopub"])
async def test_a_port_at_which_a_stranger_listened_before_the_kernel_is_connected_to(
    tmp_path: Path, context: zmq.Context, channel: str
) -> None:
    """Two servers may choose the same free port; libzmq does not try again where the handshake has failed.

    Not so of control, which is not connected to before the kernel listens there.
    """
    info: dict[str, Any] = {f"{name}_port": port for name, port in zip(CHANNELS, free_ports(5), strict=True)}
    info |= {"transport": "tcp", "ip": "127.0.0.1", "key": "k", "signature_scheme": "hmac-sha256"}
    file = tmp_path / "kernel.json"
    file.write_text(json.dumps(info))
    client = KernelClient("kernel", context)
    client.connect(ConnectionInfo.from_dict(info))
    handshake = asyncio.create_task(client.handshake(TIMEOUT_S))
    kernel = None
    try:
        await asyncio.to_thread(reject_one, zmq.REP if channel == "iopub" else zmq.PUB, info[f"{channel}_port"])
        kernel = await asyncio.create_subprocess_exec(sys.executable, KERNEL, "plain", file, stdin=subprocess.DEVNULL)
        await handshake
        assert await run(client, "stream('heard')") == "heard"
        assert (await client.request("control", "kernel_info_request", timeout_s=TIMEOUT_S)).content["status"] == "ok"
        inbox = Inbox(client)
        execute(client, "stream(reply_input('name? '))")
        await inbox.until_type("input_request")
        client.send("stdin", message_frames("input_reply", {"value": "Ada"}))
        await inbox.until_text("Ada")
    finally:
        handshake.cancel()
        await client.close()
        if kernel is not None:
            kernel.kill()
            await kernel.wait()


def reject_one(kind: int, port: int) -> None:
    """Listen as a socket of the wrong kind until one client has gone again."""
    with (
        zmq.Context() as context,
        context.socket(kind) as stranger,
        stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
    ):
        stranger.bind(f"tcp://127.0.0.1:{port}")
        gone = monitor.poll(1000 * TIMEOUT_S)
        stranger.disable_monitor()
    assert gone


# --- requests of our own ------------------------------------------------------------------------


async def test_a_request_returns_the_reply(client: KernelClient) -> None:
    reply = await client.request("shell", "execute_request", {"code": "x = 1"}, timeout_s=TIMEOUT_S)
    assert reply.msg_type == "execute_reply"
    assert reply.content["status"] == "ok"


async def test_a_request_on_control_is_answered_while_a_cell_runs(client: KernelClient) -> None:
    inbox = Inbox(client)
    execute(client, "stream('asleep')\nimport time\nwhile True: time.sleep(0.05)")
    await inbox.until_text("asleep")
    reply = await client.request("control", "kernel_info_request", timeout_s=TIMEOUT_S)
    assert reply.content["implementation"] == "tiny"


async def test_a_request_that_is_not_answered_in_time(client: KernelClient) -> None:
    execute(client, "import time\nwhile True: time.sleep(0.05)")
    with pytest.raises(KernelTimeout, match=r"did not answer complete_request within 0\.1 s"):
        await client.request("shell", "complete_request", timeout_s=0.1)


async def test_a_request_that_timed_out_is_forgotten(client: KernelClient) -> None:
    execute(client, "import time\nwhile True: time.sleep(0.05)")
    with pytest.raises(KernelTimeout):
        await client.request("shell", "complete_request", timeout_s=0.05)
    assert client.pending == 1


async def test_a_late_reply_does_no_harm(client: KernelClient) -> None:
    execute(client, "import time\ntime.sleep(0.3)")
    with pytest.raises(KernelTimeout):
        await client.request("shell", "complete_request", timeout_s=0.05)
    assert await run(client, "stream('alive')") == "alive"
    assert client.rejected == 0


async def test_requests_at_once_get_each_its_own_reply(client: KernelClient) -> None:
    codes = [f"raise ValueError('{number}')" for number in range(10)]
    replies = await asyncio.gather(
        *(client.request("shell", "execute_request", {"code": code}, timeout_s=TIMEOUT_S) for code in codes)
    )
    assert [reply.content["evalue"] for reply in replies] == [str(number) for number in range(10)]


async def test_a_request_to_a_dead_kernel_fails_at_once(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    await asyncio.gather(driver.start(), return_exceptions=True)
    async with asyncio.timeout(60):
        with pytest.raises(KernelDied, match="exited with code 3"):
            await driver.client.request("shell", "complete_request", timeout_s=3_600)


async def test_a_message_to_a_dead_kernel_is_refused_with_the_reason(kernels: Drivers) -> None:
    driver = kernels.make("tiny_exits")
    await asyncio.gather(driver.start(), return_exceptions=True)
    with pytest.raises(KernelDied, match="exited with code 3"):
        execute(driver.client, "")
    assert driver.client.pending == 0


async def test_a_message_after_the_shutdown_is_refused(driver: KernelDriver) -> None:
    await driver.shutdown()
    with pytest.raises(KernelDied):
        execute(driver.client, "")


async def test_nothing_can_be_sent_at_once_without_a_connection(kernels: Drivers) -> None:
    client = kernels.make().client
    with pytest.raises(KernelNotConnected):
        client.send_now("shell", message_frames("complete_request", {}))
    with pytest.raises(KernelNotConnected):
        await client.handshake(1)


async def test_a_header_that_was_read_before_is_not_read_again(client: KernelClient) -> None:
    inbox = Inbox(client)
    header = RequestHeader("another id", "execute_request", b"{}")
    client.send("shell", message_frames("execute_request", {"code": "stream('x')"}), header=header)
    assert client.pending == 1
    await inbox.until_type("execute_reply")
    assert client.pending == 1  # the answers have the id of the frame


@pytest.mark.parametrize("header", [b"{}", b'{"msg_id":""}', b"nonsense", b"", b'{"msg_id":5}'])
async def test_a_header_without_an_id_is_refused(client: KernelClient, header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        client.send("shell", [header, b"{}", b"{}", b"{}"])
    assert client.pending == 0


# --- who hears what -----------------------------------------------------------------------------


async def test_replies_go_to_the_session_that_asked_and_iopub_to_all(client: KernelClient) -> None:
    one, two, all_ = Inbox(client, session="one"), Inbox(client, session="two"), Inbox(client)
    first = execute(client, "stream('1')", session="one")
    second = execute(client, "stream('2')", session="two")
    for inbox in (one, two, all_):
        await inbox.until_idle(second)
    await two.until_reply(second)
    assert [message.parent_msg_id for message in one.messages if message.channel == "shell"] == [first]
    assert [message.parent_msg_id for message in two.messages if message.channel == "shell"] == [second]
    assert all_.types("shell") == ["execute_reply", "execute_reply"]
    assert one.texts() == two.texts() == all_.texts() == ["1", "2"]


async def test_an_input_request_goes_to_the_session_that_asked(client: KernelClient) -> None:
    one, two = Inbox(client, session="one"), Inbox(client, session="two")
    msg_id = execute(client, "stream('hello ' + reply_input('name?'))", session="one")
    request = await one.until_type("input_request")
    assert (request.channel, request.content["prompt"]) == ("stdin", "name?")
    client.send("stdin", message_frames("input_reply", {"value": "kernel"}, "one"))
    await one.until_text("hello kernel")
    await two.until_idle(msg_id)
    assert two.types("stdin") == []


async def test_a_listener_with_filters_hears_only_what_it_asked_for(client: KernelClient) -> None:
    inbox = Inbox(client, ["stream", ("status", "iopub")], [("stream", "shell")], channels=["iopub"])
    msg_id = execute(client, "stream('x')")
    await inbox.until_idle(msg_id)
    assert inbox.types() == ["status", "stream", "status"]


async def test_answers_to_our_own_requests_are_not_for_listeners(client: KernelClient) -> None:
    inbox = Inbox(client)
    await client.request("shell", "execute_request", {"code": "stream('own')"}, timeout_s=TIMEOUT_S)
    msg_id = execute(client, "stream('theirs')")
    await inbox.until_idle(msg_id)
    await inbox.until_reply(msg_id)
    assert inbox.texts() == ["theirs"]
    assert inbox.types("shell") == ["execute_reply"]


async def test_a_removed_listener_hears_nothing_more(client: KernelClient) -> None:
    inbox, other = Inbox(client), Inbox(client)
    client.remove_listener(inbox.listener)
    await other.until_idle(execute(client, "stream('x')"))
    assert inbox.messages == []


async def test_a_listener_is_removed_by_its_callback_too(client: KernelClient) -> None:
    heard = []

    def callback(channel: str, frames: Sequence[bytes]) -> None:
        heard.append(channel)

    other = Inbox(client)
    client.add_listener(callback, ["stream"])
    client.add_listener(callback, ["status"])
    client.remove_listener(callback)
    client.remove_listener(callback)  # not there any more: nothing happens
    await other.until_idle(execute(client, "stream('x')"))
    assert heard == []


async def test_a_listener_that_is_removed_by_another_one_hears_nothing_more(client: KernelClient) -> None:
    heard = []

    def removes(channel: str, frames: Sequence[bytes]) -> None:
        client.remove_listener(removed)

    client.add_listener(removes)
    removed = client.add_listener(lambda channel, frames: heard.append(channel))
    inbox = Inbox(client)
    await inbox.until_idle(execute(client, "stream('x')"))
    assert heard == []


async def test_a_listener_that_is_added_later_hears_what_comes_then(client: KernelClient) -> None:
    early = Inbox(client)
    await early.until_idle(execute(client, "stream('before')"))
    late = Inbox(client)
    await late.until_idle(execute(client, "stream('after')"))
    assert early.texts() == ["before", "after"]
    assert late.texts() == ["after"]


async def test_a_listener_that_fails_keeps_nobody_from_hearing(
    client: KernelClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(channel: str, frames: Sequence[bytes]) -> None:
        raise RuntimeError("the listener's own fault")

    async def fails_later(channel: str, frames: Sequence[bytes]) -> None:
        raise RuntimeError("the other one's own fault")

    client.add_listener(fails)
    client.add_listener(fails_later)
    assert await run(client, "stream('x')") == "x"
    assert "the listener's own fault" in caplog.text
    assert "the other one's own fault" in caplog.text


async def test_an_async_listener_that_hangs_holds_up_nobody(client: KernelClient) -> None:
    hangs = asyncio.Event()

    async def hanging(channel: str, frames: Sequence[bytes]) -> None:
        hangs.set()
        await asyncio.Event().wait()

    client.add_listener(hanging)
    assert await run(client, "stream('x')") == "x"
    await hangs.wait()


async def test_an_async_listener_may_shut_the_kernel_down(driver: KernelDriver) -> None:
    done = asyncio.Event()

    async def callback(channel: str, frames: Sequence[bytes]) -> None:
        await driver.shutdown()
        done.set()

    driver.client.add_listener(callback, ["stream"])
    execute(driver.client, "stream('x')")
    await done.wait()
    assert driver.client.execution_state == "dead"


async def test_batches_carry_the_request_and_who_sent_it(client: KernelClient) -> None:
    replies: list[Message] = []
    client.add_batch_listener(lambda channel, messages: replies.extend(messages) if channel == "shell" else None)
    inbox = Inbox(client)
    origin = object()
    msg_id = execute(client, "stream('x')", origin=origin)
    await inbox.until_reply(msg_id)
    (reply,) = replies
    assert reply.request is not None
    assert (reply.request.msg_id, reply.request.origin) == (msg_id, origin)


async def test_pending_counts_what_the_kernel_has_not_finished(client: KernelClient) -> None:
    inbox = Inbox(client)
    msg_ids = [execute(client, "stream('x')") for _ in range(3)]
    assert client.pending == 3
    await inbox.until_idle(msg_ids[-1])
    await inbox.until_reply(msg_ids[-1])
    assert client.pending == 0


async def test_statistics_are_a_snapshot(client: KernelClient) -> None:
    inbox = Inbox(client)
    before = client.statistics()
    msg_id = execute(client, "raw('iopub', [b'garbage'])")
    running = client.statistics()
    await inbox.until_idle(msg_id)
    await inbox.until_reply(msg_id)
    after = client.statistics()
    assert [(one.listeners, one.pending, one.rejected) for one in (before, running, after)] == [
        (1, 0, 0), (1, 1, 0), (1, 0, 1),
    ]  # fmt: skip


async def test_a_flood_arrives_whole_and_in_order(client: KernelClient) -> None:
    count = 20_000
    inbox = Inbox(client, ["stream", "status"])
    await inbox.until_idle(execute(client, f"for i in range({count}): stream(str(i))"))
    assert inbox.texts() == [str(number) for number in range(count)]


async def test_a_large_message_passes_both_ways(client: KernelClient) -> None:
    inbox = Inbox(client, ["comm_msg"])
    large = bytes(range(256)) * (8 * 1024 * 1024 // 256)
    client.send("shell", message_frames("comm_msg", {"comm_id": "c"}, buffers=[large, b"", b"ab"]))
    message = await inbox.until_type("comm_msg")
    assert [len(buffer) for buffer in message.buffers] == [len(large), 0, 2]
    assert message.buffers == [large[::-1], b"", b"ba"]
    assert all(type(part) is bytes for part in message.frames)  # whatever they are on their way to us


async def test_a_message_on_control_is_not_stopped_by_large_ones_on_shell(client: KernelClient) -> None:
    large = bytes(16 * 1024 * 1024)
    for _ in range(3):
        client.send("shell", message_frames("comm_msg", {}, buffers=[large]))
    reply = await client.request("control", "kernel_info_request", timeout_s=TIMEOUT_S)
    assert reply.content["status"] == "ok"


# --- garbage ------------------------------------------------------------------------------------

# Each makes `frames`, which the kernel then sends as they are; `sign` is right.
SIGN = """
import hashlib, hmac
def sign(*frames):
    signature = hmac.new(kernel.key, b"".join(frames), hashlib.sha256).hexdigest().encode()
    return [b"<IDS|MSG>", signature, *frames]
"""
FORGED = "frames = kernel.pack('stream', {'name': 'stdout', 'text': 'forged'}, {})"
GARBAGE = {
    "empty": "frames = [b'']",
    "no delimiter": "frames = [b'garbage', b'{}', b'{}', b'{}', b'{}', b'{}']",
    "delimiter only": "frames = [b'<IDS|MSG>']",
    "a part missing": f"{FORGED}[:5]",
    "wrong signature": f"{FORGED}; frames[1] = b'0' * 64",
    "no signature": f"{FORGED}; frames[1] = b''",
    "changed content": f"{FORGED}; frames[5] = frames[5].replace(b'forged', b'forget')",
    "header no JSON": "frames = sign(b'nonsense', b'{}', b'{}', b'{}')",
    "header no object": "frames = sign(b'[1, 2]', b'{}', b'{}', b'{}')",
    "header no UTF-8": r"""frames = sign(b'{"msg_type":"\xff"}', b'{}', b'{}', b'{}')""",
}
REPLY_GARBAGE = GARBAGE | {
    "parent header no JSON": """frames = sign(b'{"msg_type":"execute_reply"}', b'nonsense', b'{}', b'{}')""",
    "parent session no UTF-8": r"""
frames = sign(b'{"msg_type":"x_reply"}', b'{"msg_id":"1","session":"\xff"}', b'{}', b'{}')""",
}
IOPUB_GARBAGE = GARBAGE | {
    "status of no JSON": """frames = sign(b'{"msg_type":"status"}', b'{}', b'{}', b'nonsense')""",
    "status with a parent of no JSON": """
frames = sign(b'{"msg_type":"status"}', b'nonsense', b'{}', b'{"execution_state":"busy"}')""",
}


@pytest.mark.parametrize("kind", IOPUB_GARBAGE)
async def test_garbage_on_iopub_is_dropped_alone(client: KernelClient, kind: str) -> None:
    code = f"{SIGN}\n{IOPUB_GARBAGE[kind]}\nstream('before')\nraw('iopub', frames)\nstream('after')"
    inbox = Inbox(client)
    await inbox.until_idle(execute(client, code))
    assert client.rejected == 1
    assert inbox.texts() == ["before", "after"]


@pytest.mark.parametrize("kind", REPLY_GARBAGE)
async def test_garbage_on_shell_is_dropped_alone(client: KernelClient, kind: str) -> None:
    code = f"{SIGN}\n{REPLY_GARBAGE[kind]}\nraw('shell', frames)"
    inbox, session = Inbox(client), Inbox(client, session="test")
    msg_id = execute(client, code)
    for one in (inbox, session):
        reply = await one.until(lambda message: message.channel == "shell")
        assert reply.parent_msg_id == msg_id
        assert reply.content["status"] == "ok"
    assert client.rejected == 1


async def test_garbage_without_end_does_not_fill_the_log(
    client: KernelClient, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox(client)
    await inbox.until_idle(execute(client, "for i in range(600): raw('iopub', [b'garbage'])"))
    assert client.rejected == 600
    assert caplog.text.count("dropped a message on iopub") == 10  # at 1, 2, 4 … 512


async def test_signatures_are_not_checked_when_that_is_switched_off(kernels: Drivers) -> None:
    driver = await kernels.start(verify=False)
    inbox = Inbox(driver.client)
    await inbox.until_idle(execute(driver.client, f"{GARBAGE['wrong signature']}\nraw('iopub', frames)"))
    assert inbox.texts() == ["forged"]
    assert driver.client.rejected == 0


async def test_a_status_that_nobody_knows_is_passed_on_and_changes_nothing(client: KernelClient) -> None:
    inbox = Inbox(client)
    msg_id = execute(client, "publish('status', {'execution_state': 'pondering'}, parent={})")
    await inbox.until(lambda message: message.content.get("execution_state") == "pondering")
    await inbox.until_idle(msg_id)
    assert client.execution_state == "idle"
    assert client.rejected == 0


# --- state --------------------------------------------------------------------------------------


async def test_a_kernel_is_busy_while_a_cell_runs(client: KernelClient) -> None:
    inbox = Inbox(client)
    before = client.last_activity
    msg_id = execute(client, "stream('now')\nreply_input('wait')")
    await inbox.until_text("now")
    assert client.execution_state == "busy"
    busy = client.last_activity
    assert busy > before
    await inbox.until_type("input_request")
    client.send("stdin", message_frames("input_reply", {"value": ""}))
    await inbox.until_idle(msg_id)
    assert client.execution_state == "idle"
    assert client.last_activity > busy


@pytest.mark.parametrize("msg_type", ["debug_request", "kernel_info_request"])
async def test_a_request_on_control_does_not_end_the_cell_that_runs(client: KernelClient, msg_type: str) -> None:
    inbox = Inbox(client)
    running = execute(client, "stream('now')\nreply_input('wait')")
    await inbox.until_text("now")
    frames = message_frames(msg_type, {})
    client.send("control", frames)
    await inbox.until_idle(peek_msg_id(frames[0]))
    assert client.execution_state == "busy"
    client.send("stdin", message_frames("input_reply", {"value": ""}))
    await inbox.until_idle(running)
    assert client.execution_state == "idle"


@pytest.mark.parametrize(("msg_type", "state"), [("debug_request", "busy"), ("execute_request", "idle")])
async def test_what_another_client_asks_counts_unless_it_is_on_control(
    client: KernelClient, msg_type: str, state: str
) -> None:
    inbox = Inbox(client)
    parent = {"msg_id": "another client's", "msg_type": msg_type}
    code = f"publish('status', {{'execution_state': 'idle'}}, parent={parent})\nstream('now')\nreply_input('wait')"
    running = execute(client, code)
    await inbox.until_text("now")
    assert client.execution_state == state
    await inbox.until_type("input_request")
    client.send("stdin", message_frames("input_reply", {"value": ""}))
    await inbox.until_idle(running)


async def test_our_own_requests_are_no_activity(client: KernelClient) -> None:
    before = client.last_activity
    inbox = Inbox(client)
    await client.request("shell", "kernel_info_request", timeout_s=TIMEOUT_S)
    await client.request("control", "kernel_info_request", timeout_s=TIMEOUT_S)
    assert client.last_activity == before
    assert client.execution_state == "idle"
    assert inbox.messages == []


async def test_a_kernel_cannot_declare_itself_dead(client: KernelClient) -> None:
    inbox = Inbox(client)
    for state in ("dead", "restarting", "terminating", "starting"):
        msg_id = execute(client, f"publish('status', {{'execution_state': '{state}'}})")
        await inbox.until_idle(msg_id)
    assert client.execution_state == "idle"


async def test_the_current_state_can_be_told_to_one_listener(client: KernelClient) -> None:
    inbox, other = Inbox(client), Inbox(client)
    client.broadcast_state(inbox.listener)
    (message,) = inbox.messages
    assert (message.channel, message.msg_type) == ("iopub", "status")
    assert message.content == {"execution_state": "idle"}
    assert message.header["session"] == client.kernel_session
    assert message.parent_header == {}
    assert other.messages == []


async def test_a_listener_that_does_not_want_statuses_is_not_told_the_state(client: KernelClient) -> None:
    inbox = Inbox(client, ["stream"])
    client.broadcast_state(inbox.listener)
    assert inbox.messages == []


async def test_the_client_knows_the_kernel(client: KernelClient) -> None:
    assert client.kernel_info["implementation"] == "tiny"
    inbox = Inbox(client)
    await inbox.until_idle(execute(client, ""))
    assert inbox.messages[0].header["session"] == client.kernel_session
    assert client.session != client.kernel_session


async def test_messages_made_for_the_kernel_have_its_session(client: KernelClient) -> None:
    frames = client.make_frames("stream", {"name": "stderr", "text": "x"}, b'{"msg_id":"p"}')
    assert Message("iopub", frames).header["session"] == client.kernel_session
    assert frames[1] == b'{"msg_id":"p"}'


async def test_state_listeners_hear_of_starts_and_ends(kernels: Drivers) -> None:
    driver = kernels.make()
    states = []
    driver.client.add_state_listener(lambda: states.append(driver.client.execution_state.value))
    await driver.start()
    await driver.restart()
    await driver.shutdown()
    assert states == ["idle", "restarting", "idle", "terminating", "dead"]
