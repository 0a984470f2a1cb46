"""The event loop that our servers run on: uvloop where it is installed."""

from __future__ import annotations

import asyncio


def new_loop() -> asyncio.AbstractEventLoop:
    """A new event loop, not yet set."""
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore]  # no stubs where it is not installed
    except ImportError:  # not on Windows
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
