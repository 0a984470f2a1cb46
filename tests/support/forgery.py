"""Attempts to write lines of one's own into a server's log."""

from __future__ import annotations

from urllib.parse import quote

import websockets

from .client import Client


async def forge_lines(server_url: str, text: str, *paths: str) -> None:
    """Have a text logged by all ways that a client and a kernel have: paths, bodies, ids, messages, stderr.

    paths: those of requests besides that of a kernel, with `{}` for the text.
    """
    forged = quote(text, safe="")
    async with Client(server_url) as client:
        kernel_id = await client.start()
        for path in ("/api/kernels/{}", *paths):
            for method in ("GET", "DELETE", "POST", "PATCH"):
                await client.http.request(method, path.replace("{}", forged))
        for body in ({"name": text}, {"kernel_id": text}, {"path": text}):
            await client.http.post("/api/kernels", json=body)
        url = f"{server_url.replace('http', 'ws')}/api/kernels/{kernel_id}/channels?session_id={forged}"
        for _ in range(2):
            async with websockets.connect(url, proxy=None) as websocket:
                await websocket.send(text)
                await websocket.send('{"header": {"msg_type": "x\\nforged"}, "channel": "x\\nforged"}')
        async with await client.connect(kernel_id) as socket:
            await socket.run(f"import sys; sys.stderr.write({text!r}); sys.stderr.flush()")
