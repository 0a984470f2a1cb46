"""What a page sees of a kernel that did not start."""

from __future__ import annotations

import asyncio

import pytest
import websockets

from .client import Client
from .messages import Json


async def refused_once_named(client: Client, session: Json) -> bytes:
    """Open a WebSocket to a dead kernel as JupyterLab does, which hears why only after it has named the session.

    Asserts that it is answered then, and no sooner. Returns the body of the answer.
    """
    connecting = asyncio.create_task(client.connect(session["kernel"]["id"], origin=client.url))
    url = f"/api/sessions/{session['id']}"
    assert (await client.http.patch(url, json={"path": "b.ipynb"})).status_code == 200
    await asyncio.wait([connecting], timeout=0.2)
    assert not connecting.done()
    assert (await client.http.patch(url, json={"name": "b.ipynb"})).status_code == 200
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connecting
    assert refused.value.response.status_code == 500
    return bytes(refused.value.response.body)
