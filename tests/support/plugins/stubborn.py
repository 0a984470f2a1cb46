"""A plugin of Jupyverse that does not end: its teardown waits for what never comes, and a thread of it, too."""

import asyncio
import contextlib
import threading

from asphalt.core import Component, Context, context_teardown


class StubbornComponent(Component):
    @context_teardown
    async def start(self, ctx: Context):
        yield
        await asyncio.gather(wait_for_ever(), asyncio.to_thread(block_for_ever))


async def wait_for_ever() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def block_for_ever() -> None:
    threading.Event().wait()
