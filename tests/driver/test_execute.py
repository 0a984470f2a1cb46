"""Running code through the shared client: outputs, the reply, and every way it may not come."""

from __future__ import annotations

import asyncio

import pytest

from fps_kernels.errors import KernelDied, KernelNotConnected, KernelRestarted, KernelTimeout
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.message import Message, make_header

from ..support.drivers import TIMEOUT_S, Drivers, Inbox, Recorder, message_frames, run

pytestmark = pytest.mark.usefixtures("bounded")

ENDLESS = "stream('on')\nimport time\nwhile True: time.sleep(0.05)"
NO_REPLY = "kernel.reply = lambda *_: None"
NO_IDLE = """
publish_any = kernel.publish
def publish_but_idle(msg_type, content, *arguments, **more):
    if content != {"execution_state": "idle"}:
        publish_any(msg_type, content, *arguments, **more)
kernel.publish = publish_but_idle
"""


class Running:
    """Code that runs in the background. outputs: what its callback was given."""

    def __init__(self, client: KernelClient, code: str, **options: object) -> None:
        self.outputs: list[Message] = []
        self.heard = asyncio.Event()
        options = {"timeout_s": TIMEOUT_S} | options
        self.task = asyncio.create_task(client.execute(code, self.hear, **options))  # type: ignore[arg-type]

    def hear(self, message: Message) -> None:
        self.outputs.append(message)
        if message.msg_type in ("stream", "input_request"):
            self.heard.set()

    def types(self) -> list[str]:
        return [message.msg_type for message in self.outputs]

    def texts(self) -> list[str]:
        return [message.content["text"] for message in self.outputs if message.msg_type == "stream"]


async def test_all_outputs_are_there_when_the_reply_is_returned(client: KernelClient) -> None:
    running = Running(client, "stream('one')\nstream('two')")
    reply = await running.task
    assert (reply.msg_type, reply.content["status"]) == ("execute_reply", "ok")
    assert running.types() == ["status", "execute_input", "stream", "stream", "status"]
    assert running.texts() == ["one", "two"]
    assert reply.request is not None
    assert reply.request.idle
    assert client.pending == 0


async def test_code_that_fails_is_told_by_the_reply(client: KernelClient) -> None:
    reply = await client.execute("raise ValueError('no')", timeout_s=TIMEOUT_S)
    assert (reply.content["status"], reply.content["ename"]) == ("error", "ValueError")


async def test_a_callback_gets_only_what_its_own_code_causes(client: KernelClient) -> None:
    runs = [Running(client, f"stream('{number}')") for number in range(5)]
    await asyncio.gather(*(one.task for one in runs), run(client, "stream('of another')"))
    assert [one.texts() for one in runs] == [["0"], ["1"], ["2"], ["3"], ["4"]]


async def test_a_callback_does_not_get_what_a_thread_says_of_no_request(client: KernelClient) -> None:
    other = "kernel.publish('stream', {'name': 'stderr', 'text': 'other'}, parent={})"
    running = Running(client, f"stream('before'); {other}; stream('after')")
    await running.task
    assert running.texts() == ["before", "after"]


async def test_a_callback_that_fails_changes_nothing(client: KernelClient, caplog: pytest.LogCaptureFixture) -> None:
    def fails(message: Message) -> None:
        raise RuntimeError("the callback's own fault")

    reply = await client.execute("stream('x')", fails, timeout_s=TIMEOUT_S)
    assert reply.content["status"] == "ok"
    assert "the callback's own fault" in caplog.text


async def test_a_message_whose_parent_cannot_be_read_is_of_no_execution(client: KernelClient) -> None:
    code = """
import hashlib, hmac
frames = [b'{"msg_type":"stream"}', b'nonsense', b'{}', b'{"text":"stray"}']
raw("iopub", [b"<IDS|MSG>", hmac.new(kernel.key, b"".join(frames), hashlib.sha256).hexdigest().encode(), *frames])
"""
    inbox = Inbox(client, ["stream"])
    running = Running(client, code)
    await running.task
    assert running.texts() == []
    assert inbox.texts() == ["stray"]
    assert client.rejected == 0


async def test_the_answers_to_the_servers_own_code_are_not_for_listeners(client: KernelClient) -> None:
    inbox = Inbox(client)
    before = client.last_activity
    await Running(client, "stream('own')").task
    await run(client, "stream('theirs')")
    assert inbox.texts() == ["theirs"]
    assert inbox.types("shell") == ["execute_reply"]
    assert client.last_activity > before  # by the other's code


async def test_with_a_header_of_its_own_code_is_seen_by_listeners(client: KernelClient) -> None:
    inbox = Inbox(client, session="mine")
    header = make_header("execute_request", "mine")
    running = Running(client, "stream('mine')", header=header)
    reply = await running.task
    assert reply.parent_msg_id == header["msg_id"]
    assert running.texts() == inbox.texts() == ["mine"]
    assert inbox.types("shell") == ["execute_reply"]
    assert client.execution_state == "idle"


async def test_the_kernel_gets_everything_it_is_asked_with(client: KernelClient) -> None:
    code = "stream(repr((request['metadata'], {**request['content'], 'code': ''})))"
    running = Running(
        client,
        code,
        metadata={"cellId": "c"},
        silent=True,
        store_history=False,
        user_expressions={"x": "1"},
        allow_stdin=True,
        stop_on_error=False,
    )
    await running.task
    content = {
        "code": "",
        "silent": True,
        "store_history": False,
        "user_expressions": {"x": "1"},
        "allow_stdin": True,
        "stop_on_error": False,
    }
    assert running.texts() == [repr(({"cellId": "c"}, content))]


async def test_an_input_request_is_given_to_the_callback(client: KernelClient) -> None:
    running = Running(client, "stream('hello ' + reply_input('name?'))", allow_stdin=True)
    await running.heard.wait()
    asked = running.outputs[-1]
    assert (asked.channel, asked.content["prompt"]) == ("stdin", "name?")
    client.send("stdin", message_frames("input_reply", {"value": "Ada"}))
    await running.task
    assert running.texts() == ["hello Ada"]


async def test_code_waits_until_the_kernel_is_ready(kernels: Drivers) -> None:
    driver = kernels.make()
    running = Running(driver.client, "stream('x')")
    await asyncio.sleep(0)
    await driver.start()
    await running.task
    assert running.texts() == ["x"]


async def test_at_once_needs_a_connection(kernels: Drivers) -> None:
    client = kernels.make().client
    with pytest.raises(KernelNotConnected):
        await client.execute("", timeout_s=TIMEOUT_S, at_once=True)
    assert client.pending == 0


async def test_code_that_goes_on_for_too_long(client: KernelClient) -> None:
    with pytest.raises(KernelTimeout, match=r"did not answer execute_request within 0\.1 s"):
        await client.execute(ENDLESS, timeout_s=0.1)
    assert client.pending == 0


async def test_code_without_a_limit_is_waited_for(client: KernelClient) -> None:
    running = Running(client, "stream(reply_input('go on?'))", timeout_s=None, allow_stdin=True)
    await running.heard.wait()
    assert not running.task.done()
    client.send("stdin", message_frames("input_reply", {"value": "yes"}))
    await running.task
    assert running.texts() == ["yes"]


async def test_a_kernel_that_forgets_idle_is_done_without_it(client: KernelClient) -> None:
    reply = await client.execute(NO_IDLE, timeout_s=TIMEOUT_S, grace_s=0.1)
    assert reply.content["status"] == "ok"
    assert reply.request is not None
    assert not reply.request.idle
    assert client.pending == 0


async def test_a_kernel_that_forgets_the_reply_is_a_timeout(client: KernelClient) -> None:
    await run(client, NO_REPLY)
    with pytest.raises(KernelTimeout, match=r"is idle, but did not answer execute_request within 0\.1 s"):
        await client.execute("", timeout_s=None, late_s=0.1)
    assert client.pending == 0


async def test_a_death_fails_code_that_runs_and_observers_hear_of_its_origin(driver: KernelDriver) -> None:
    told = Recorder(driver)
    running = Running(driver.client, ENDLESS, origin="somebody", timeout_s=None)
    await running.heard.wait()
    driver.client.send("shell", message_frames("complete_request", {}), "another")
    await driver.shutdown(now=True)
    with pytest.raises(KernelDied, match="shut down"):
        await running.task
    assert [request.origin for request in told.failed] == ["somebody", "another"]


async def test_observers_do_not_hear_of_the_servers_own_code(driver: KernelDriver) -> None:
    told = Recorder(driver)
    running = Running(driver.client, ENDLESS)
    await running.heard.wait()
    await driver.restart()
    with pytest.raises(KernelRestarted):
        await running.task
    assert told.failed == []


async def test_a_restart_after_the_reply_ends_the_wait_for_idle(driver: KernelDriver) -> None:
    inbox = Inbox(driver.client)
    header = make_header("execute_request", "mine")
    running = Running(driver.client, NO_IDLE, header=header, grace_s=3_600)
    await inbox.until_type("execute_reply")
    assert not running.task.done()
    await driver.restart()
    assert (await running.task).content["status"] == "ok"


async def test_code_that_nobody_waits_for_any_more_goes_on(client: KernelClient) -> None:
    inbox = Inbox(client)
    header = make_header("execute_request", "mine")
    running = Running(client, "stream(reply_input('go on?'))", header=header, allow_stdin=True)
    await running.heard.wait()
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    client.send("stdin", message_frames("input_reply", {"value": "yes"}))
    await inbox.until_idle(header["msg_id"])
    assert inbox.texts() == ["yes"]
    assert running.texts() == []


async def test_code_for_a_dead_kernel_is_refused(driver: KernelDriver) -> None:
    await driver.shutdown()
    with pytest.raises(KernelDied):
        await driver.client.execute("", timeout_s=TIMEOUT_S)
