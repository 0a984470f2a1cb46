"""A page that saves by itself is told the hash of a file that the server has saved when it can know of that save."""

from __future__ import annotations

import asyncio

from fps_kernels.hosts.asphalt.lab.contents.shared_saves import UNHEARD_S, SharedSaves


async def test_the_hash_is_read_after_the_page_has_learned_of_the_save() -> None:
    saves, events = SharedSaves(), list[str]()

    async def read() -> str:
        events.append("read")
        return "hash"

    saves.note("/a.ipynb")
    reading = asyncio.create_task(saves.read_apart("a.ipynb", read))
    await saves.read_apart("b.ipynb", read)  # nobody has saved that one
    await asyncio.sleep(UNHEARD_S / 2)  # a busy page
    saves.heard("b.ipynb")
    saves.heard("a.ipynb")
    events.append("heard")
    assert await reading == "hash"
    assert events == ["read", "heard", "read"]


async def test_a_request_for_a_save_before_does_not_count_for_the_last() -> None:
    saves, events = SharedSaves(), list[str]()

    async def read() -> str:
        events.append("read")
        return "hash"

    saves.note("a.ipynb")
    saves.note("a.ipynb")
    reading = asyncio.create_task(saves.read_apart("a.ipynb", read))
    saves.heard("a.ipynb")
    await asyncio.sleep(UNHEARD_S / 2)
    saves.heard("a.ipynb")
    events.append("heard")
    assert await reading == "hash"
    assert events == ["heard", "read"]


async def test_a_save_while_the_file_is_read_makes_it_be_read_again() -> None:
    saves, events = SharedSaves(), list[str]()

    async def read() -> int:
        events.append("read")
        if len(events) == 1:
            saves.note("a.ipynb")
            saves.heard("a.ipynb")
        return len(events)

    assert await saves.read_apart("a.ipynb", read) == 2


async def test_a_page_that_never_asks_is_answered_too() -> None:
    saves = SharedSaves()
    saves.note("a.ipynb")

    async def read() -> str:
        return "hash"

    async with asyncio.timeout(UNHEARD_S + 30):
        assert await saves.read_apart("a.ipynb", read) == "hash"
