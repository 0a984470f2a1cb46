"""What we log on a stock Jupyter Server, whose handlers are not ours: nobody but us writes a line of it."""

from __future__ import annotations

import re

from ..support.forgery import forge_lines
from ..support.stock import BeginStock

FORGED = "x\n[2026-01-01 00:00:00,000 ERROR] forged\r\x1b[2J\x7f"
"""In ASCII, as Jupyter Server wants ids of sessions."""


def records(log: str, logger: str) -> list[str]:
    """The records of a logger and those below it. Jupyter Server indents the later lines of a record."""
    return [record for record in re.split(r"\n(?=\[)", log) if re.match(rf"\[\w \S+ \S+ {logger}[. \]]", record)]


async def test_nobody_writes_a_line_of_their_own(begin: BeginStock) -> None:
    server = begin("--ServerApp.log_level=DEBUG")
    await forge_lines(server.url, FORGED, "/api/kernels/{}/execute", "/api/sessions/{}")
    server.stop()
    log = server.log.read_text()
    ours = records(log, "fps_kernels")
    assert any("session x\\n[2026-01-01 00:00:00,000 ERROR] forged" in record for record in ours)
    assert [record for record in ours if not record.isprintable()] == []
    assert log.count("sent a malformed message") == sum("sent a malformed message" in record for record in ours) == 2
