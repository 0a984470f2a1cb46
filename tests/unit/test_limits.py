"""Rate limits of iopub: stream messages are merged, then cut; everything else always passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.kernel_driver.message import Message, make_frames
from fps_kernels.kernel_server.client_session import ClientSession, SessionOutbox
from fps_kernels.kernel_server.iopub_log import Inbox, IopubLog, ReplayLimits
from fps_kernels.kernel_server.rate_limit import RateLimiter, RateLimits, cut_middle
from fps_kernels.websocket.frame_batch import FrameBatch

from ..conftest import Launch, options
from ..support.client import Client, Json, Socket, of_type, text_of

COUNT = 20_000
PRINTS = f"for i in range({COUNT}): stream(f'{{i}}\\n')"
PRINTED = "".join(f"{number}\n" for number in range(COUNT))
MIXED = """
for i in range(300):
    stream(f"{i}\\n")
    publish("display_data", {"data": {"text/plain": str(i)}, "metadata": {}})
publish("execute_result", {"data": {}, "metadata": {}, "execution_count": 1})
raise ValueError("the last word")
"""
MANY = ("stream", "display_data")
NOTICE = "characters are not shown: iopub_data_rate_limit"


# --- the limiter ---------------------------------------------------------------------------------


def test_messages_are_too_many_from_the_rate_on() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=10, window_s=2))
    limiter.count(0.0, 19)
    assert not limiter.too_many(1.9)
    limiter.count(1.9, 1)
    assert limiter.too_many(1.9)


def test_a_new_window_begins_with_nothing_counted() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=10, data_rate=10, window_s=2))
    limiter.count(0.0, 100)
    limiter.allow_text(0.0, 100)
    assert not limiter.too_many(2.0)
    assert limiter.allow_text(2.0, 100) == 20


def test_without_a_message_rate_messages_are_never_too_many() -> None:
    limiter = RateLimiter(RateLimits(data_rate=10))
    limiter.count(0.0, 1_000_000)
    assert not limiter.too_many(0.0)


def test_without_a_data_rate_all_text_is_allowed() -> None:
    limiter = RateLimiter(RateLimits(msg_rate=1))
    assert limiter.allow_text(0.0, 10**9) == 10**9


def test_messages_are_collected_when_no_more_text_may_be_sent() -> None:
    """Or each of them would become a notice, which is longer than what a loop prints."""
    limiter = RateLimiter(RateLimits(data_rate=10, window_s=1))
    assert not limiter.too_many(0.0)
    limiter.allow_text(0.0, 10)
    assert limiter.too_many(0.0)


@given(st.lists(st.integers(0, 100)), st.integers(1, 200), st.integers(1, 3))
def test_no_more_text_is_allowed_in_a_window_than_the_rate(sizes: list[int], rate: int, window_s: int) -> None:
    limiter = RateLimiter(RateLimits(data_rate=rate, window_s=window_s))
    allowed = [limiter.allow_text(0.0, size) for size in sizes]
    assert sum(allowed) == min(sum(sizes), rate * window_s)
    assert all(0 <= one <= size for one, size in zip(allowed, sizes, strict=True))


@pytest.mark.parametrize(("limits", "on"), [((0, 0), False), ((1, 0), True), ((0, 1), True)])
def test_limits_are_off_when_both_are_zero(limits: tuple[float, float], on: bool) -> None:
    assert RateLimits(*limits).on is on


@given(st.text(), st.integers(0, 60))
def test_a_cut_text_has_its_two_ends_and_says_what_is_missing(text: str, keep: int) -> None:
    cut = cut_middle(text, keep)
    if len(text) <= keep:
        assert cut == text
        return
    head, tail = keep // 2, keep - keep // 2
    notice = f"\n[{len(text) - keep} {NOTICE}]\n"
    assert cut == text[:head] + notice + text[len(text) - tail :]


# --- over the outbox -----------------------------------------------------------------------------


def contents(log: IopubLog, rates: RateLimits) -> list[Json]:
    """The contents that a client with these limits is sent at once, in its first window."""
    session = ClientSession("me", Inbox(ReplayLimits()), 0)
    encode: Any = lambda channel, frames: json.loads(frames[3])  # noqa: E731
    encode_run: Any = lambda entries: FrameBatch([json.loads(entry.frames[3]) for entry in entries])  # noqa: E731
    outbox = SessionOutbox(session, log, rates, encode, encode_run, lambda: "kernel")
    got: list[Any] = []
    while run := outbox.take():
        outbox.sent(len(run))
        got += run.messages
    return got


def log_of(*contents: tuple[str, Json]) -> IopubLog:
    log = IopubLog(ReplayLimits())
    log.append([Message("iopub", make_frames(msg_type, content, "kernel")) for msg_type, content in contents], 0.0)
    return log


def test_the_text_of_many_small_messages_is_cut_with_one_notice() -> None:
    log = log_of(*(("stream", {"name": "stdout", "text": f"{number}\n"}) for number in range(40)))
    [content] = contents(log, RateLimits(data_rate=0.1, window_s=1000))
    assert content["text"].count(NOTICE) == 1
    assert content["text"].startswith("0\n1\n")
    assert content["text"].endswith("38\n39\n")


def test_what_is_no_stream_is_never_cut() -> None:
    said = [("display_data", {"data": {"text/plain": "x" * 1000}}), ("error", {"traceback": ["y" * 1000]})]
    assert contents(log_of(*said), RateLimits(data_rate=0.001, window_s=1000)) == [content for _, content in said]


# --- over a server -------------------------------------------------------------------------------


async def run_cell(socket: Socket, code: str) -> list[Json]:
    """All answers to a cell; `Socket.run` looks through them all at each, which takes long for thousands."""
    msg_id = await socket.execute(code)
    missing = {"execute_reply", "idle"}

    def is_last(message: Json) -> bool:
        if message["parent_header"].get("msg_id") == msg_id:
            missing.difference_update({message["msg_type"], message["content"].get("execution_state")})
        return not missing

    return [m for m in await socket.until(is_last) if m["parent_header"].get("msg_id") == msg_id]


async def run(launch: Launch, code: str, **rates: float) -> list[Json]:
    """All answers to a cell, from a server with these limits."""
    server = launch(*options(**rates))
    async with Client(server.url) as client, await client.connect(await client.start()) as socket:
        return await run_cell(socket, code)


async def test_a_message_rate_merges_streams_and_loses_nothing(launch: Launch) -> None:
    answers = await run(launch, PRINTS, iopub_msg_rate_limit=100, rate_limit_window_s=1)
    assert text_of(answers) == PRINTED
    assert len(of_type(answers, "stream")) < COUNT / 10


async def test_a_message_rate_lets_everything_else_pass(launch: Launch) -> None:
    answers = await run(launch, MIXED, iopub_msg_rate_limit=1)
    assert [m["content"]["data"]["text/plain"] for m in of_type(answers, "display_data")] == list(map(str, range(300)))
    assert [m["msg_type"] for m in answers if m["channel"] == "iopub" and m["msg_type"] not in MANY] == [
        "status",
        "execute_input",
        "execute_result",
        "error",
        "status",
    ]
    assert len(of_type(answers, "execute_reply")) == 1


async def test_a_data_rate_cuts_the_middle_with_a_notice(launch: Launch) -> None:
    code = "stream('begin' + 'x' * 100_000 + 'end')"
    answers = await run(launch, code, iopub_data_rate_limit=1000, rate_limit_window_s=1)
    text = text_of(answers)
    assert text.startswith("beginx")
    assert text.endswith("xend")
    assert NOTICE in text
    assert len(text) < 1100


async def test_a_data_rate_makes_a_flood_of_small_messages_smaller(launch: Launch) -> None:
    answers = await run(launch, PRINTS, iopub_data_rate_limit=1000, rate_limit_window_s=60)
    text = text_of(answers)
    assert text.startswith("0\n1\n2\n")
    assert NOTICE in text
    # Up to the limit, and then a notice for each twentieth of a second.
    assert len(text) < len(PRINTED)
    assert text.count(NOTICE) < COUNT / 100


async def test_a_data_rate_lets_everything_else_pass(launch: Launch) -> None:
    answers = await run(launch, MIXED, iopub_data_rate_limit=1)
    assert [m["content"]["data"]["text/plain"] for m in of_type(answers, "display_data")] == list(map(str, range(300)))
    assert [m["content"]["evalue"] for m in of_type(answers, "error")] == ["the last word"]
    assert [m["content"]["status"] for m in of_type(answers, "execute_reply")] == ["error"]


async def test_by_default_a_loop_that_prints_arrives_whole(client: Client) -> None:
    async with await client.connect(await client.start()) as socket:
        answers = await run_cell(socket, PRINTS)
    assert text_of(answers) == PRINTED
