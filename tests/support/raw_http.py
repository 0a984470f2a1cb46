"""HTTP without any client that would tidy up the request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class RawResponse:
    """What came back over a raw socket. The names of headers are in lower case."""

    status_code: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def raw_request(
    url: str, method: str, target: str, *, headers: dict[str, str] | None = None, body: bytes = b""
) -> RawResponse:
    """Ask a server without any client that would tidy up the request.

    target: what stands between the method and HTTP/1.1, as it is.
    """
    netloc = urlsplit(url).netloc
    lines = {"Host": netloc, "Connection": "close", "Content-Length": str(len(body))} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    host, port = netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(60):
            answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    status, *fields = answer.decode().split("\r\n")
    pairs = (field.split(": ", 1) for field in fields)
    return RawResponse(int(status.split()[1]), {name.lower(): value for name, value in pairs}, body)
