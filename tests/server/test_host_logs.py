"""What we log under a host that has its own handlers: nobody but us writes a line of it."""

from __future__ import annotations

from ..support.forgery import forge_lines
from ..support.servers import Launch

FORGED = "x\n[2026-01-01 00:00:00,000 ERROR] forged\r\x1b[2J\x9b1m\u2028\u202e"


async def test_nobody_writes_a_line_of_their_own(launch: Launch) -> None:
    server = launch()
    await forge_lines(server.url, FORGED, "/kernelspecs/{}/{}", "/api/sessions/{}")
    server.stop()
    log = server.log.read_text()
    assert "session x\\n[2026-01-01 00:00:00,000 ERROR] forged" in log
    assert [line for line in log.split("\n") if line.startswith("[2026-01-01") or not line.isprintable()] == []
