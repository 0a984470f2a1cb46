"""The answer to a request that somebody waits for: its reply, and that the kernel is idle again."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import IdleWithoutReply
from .message import Message
from .request_log import Request


def await_answer(request: Request) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
    """Have the futures of a request's reply and idle made, which the kernel's messages will be given to."""
    loop = asyncio.get_running_loop()
    request.reply_future = reply = loop.create_future()
    request.idle_future = idle = loop.create_future()
    return reply, idle


async def complete_answer(request: Request, grace_s: float, late_s: float) -> Message:
    """Return the reply, of which one half is there: reply and idle come in any order.

    grace_s: seconds to wait for idle after the reply. late_s: seconds to wait for the reply after idle.
    Raises IdleWithoutReply, and the error that takes the place of the reply.
    """
    reply, idle = request.reply_future, request.idle_future
    assert reply is not None
    assert idle is not None
    await asyncio.wait([reply, idle], timeout=grace_s if reply.done() else late_s)
    if not reply.done():
        raise IdleWithoutReply(f"The kernel is idle, but did not answer {request.msg_type} within {late_s:g} s")
    message: Message = reply.result()
    return message
