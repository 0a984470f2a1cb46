"""What we log under a host that has its own handlers: nobody but us writes a line of it."""

from __future__ import annotations

from urllib.parse import quote

import websockets

from ..support.client import Client
from ..support.servers import Launch

FORGED = "x\n[2026-01-01 00:00:00,000 ERROR] forged\r\x1b[2J\x9b1m\u2028\u202e"


async def test_nobody_writes_a_line_of_their_own(launch: Launch) -> None:
    server = launch()
    forged = quote(FORGED, safe="")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        for path in (f"/api/kernels/{forged}", f"/kernelspecs/{forged}/{forged}", f"/api/sessions/{forged}"):
            for method in ("GET", "DELETE", "POST", "PATCH"):
                await client.http.request(method, path)
        for body in ({"name": FORGED}, {"kernel_id": FORGED}, {"path": FORGED}):
            await client.http.post("/api/kernels", json=body)
        url = f"{server.url.replace('http', 'ws')}/api/kernels/{kernel_id}/channels?session_id={forged}"
        for _ in range(2):
            async with websockets.connect(url, proxy=None) as websocket:
                await websocket.send(FORGED)
                await websocket.send('{"header": {"msg_type": "x\\nforged"}, "channel": "x\\nforged"}')
        async with await client.connect(kernel_id) as socket:
            await socket.run(f"import sys; sys.stderr.write({FORGED!r}); sys.stderr.flush()")
    server.stop()
    log = server.log.read_text()
    assert "session x\\n[2026-01-01 00:00:00,000 ERROR] forged" in log
    assert [line for line in log.split("\n") if line.startswith("[2026-01-01") or not line.isprintable()] == []
