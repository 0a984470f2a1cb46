"""Executions that a server before this one has sent to a kernel: their answers are heard here."""

from __future__ import annotations

import asyncio

from ..kernel_driver.awaited_answer import await_answer, complete_answer
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import Message, dump_json, make_header
from ..kernel_driver.request_log import Request
from ..kernel_driver.state import ExecutionState
from ..kernel_server.kernel_notes import KernelNotes
from .cell_execution import Execution

LOOK_S = 0.5
"""Interval between two looks whether an answer is still to be expected."""


class NotSentError(Exception):
    """What a server was about to send has not reached the kernel."""


def expect(client: KernelClient, msg_id: str, session: str, execution: Execution) -> Request:
    """Remember a request as one that the kernel answers. It must not be connected to yet.

    session: that of the queue, for the errors that take the place of answers.
    """
    header = {**make_header("execute_request", session), "msg_id": msg_id}
    request = Request(msg_id, "shell", "execute_request", dump_json(header), execution)
    await_answer(request)
    client.requests.add(request)
    return request


async def outcome(client: KernelClient, request: Request, notes: KernelNotes, grace_s: float) -> Message:
    """Return the reply to a request of `expect`, however long that takes, once the kernel is idle again.

    grace_s: how long to wait for the one after the other, and for a reply of a kernel that is idle and should have
      given one.
    Raises NotSentError; IdleWithoutReply; KernelDied or KernelRestarted.
    """
    reply, idle = request.reply_future, request.idle_future
    assert reply is not None
    assert idle is not None
    loop = asyncio.get_running_loop()
    idle_since = None
    try:
        while not (reply.done() or idle.done()):
            await asyncio.wait([reply, idle], timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if reply.done() or idle.done():
                break
            if notes.replaying or not client.state.ready or client.execution_state is not ExecutionState.IDLE:
                idle_since = None
                continue
            if not notes.was_sent(request.msg_id):
                raise NotSentError
            idle_since = idle_since or loop.time()
            if loop.time() > idle_since + grace_s:
                break
        return await complete_answer(request, grace_s, grace_s)
    finally:
        client.requests.discard(request)
