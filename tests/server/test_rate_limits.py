"""Rate limits of iopub, over WebSockets: stream messages are merged, then cut; everything else always passes."""

from __future__ import annotations

from ..support.client import Client, Socket
from ..support.messages import Json, of_type, text_of
from ..support.servers import Launch, options

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
