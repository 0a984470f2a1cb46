"""The log of `fps-kernels lab --debug`: nothing in it with which somebody could come in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
import websockets

from ..support.gateways import Gateway
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED

TOKEN = "s3cr3t/T0KEN+of=the'lab-session"
ENCODED = quote(TOKEN, safe="")
BASIC = base64.b64encode(f"user:{TOKEN}".encode()).decode()
PROXY_SECRET = "the-shared-s3cr3t-of-a-proxy"
GUESS = "a-gu3ss-with-a-typing-error"
PARTS = ("s3cr3t", "T0KEN", BASIC[8:30], ENCODED[:12], "gu3ss")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    base = tmp_path_factory.mktemp("lab")
    secret = base / "secret"
    secret.touch(0o600)
    secret.write_text(PROXY_SECRET)
    lean = [word for name in NOT_NEEDED for word in ("--disable", name)]
    proxy = ["--proxy-user-header", "X-Forwarded-User", "--proxy-secret-file", str(secret)]
    options = [*lean, "--set", "kernels.prewarm=0", "--debug", "--token", TOKEN, *proxy]
    server = Gateway(base / "server", "lab", "--port", str(free_port()), *options)
    server.wait_ready()
    yield server
    server.stop()


async def test_neither_token_nor_cookie_nor_guess(lab: Gateway) -> None:
    async with httpx.AsyncClient(base_url=lab.url, trust_env=False, timeout=30) as http:
        for value in (f"token {TOKEN}", f"Bearer {TOKEN}", f"Basic {BASIC}", f"token {GUESS}"):
            await http.get("/api/kernels", headers={"Authorization": value, "Referer": f"{lab.url}/?token={ENCODED}"})
        for secret in (PROXY_SECRET, GUESS):
            headers = {"X-Forwarded-User": "me", "X-Fps-Kernels-Proxy-Secret": secret}
            await http.get("/api/kernels", headers=headers)
        for query in (f"token={GUESS}", f"token={ENCODED}", f"%74oken={ENCODED}", f"x={ENCODED}"):
            await http.get(f"/lab?{query}", headers={"Accept": "text/html"})
        assert http.cookies, "the token in the URL was traded for a cookie"
        cookies = dict(http.cookies)
        await http.post("/login", data={"secret": GUESS, **cookies})
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        url = f"{lab.url.replace('http', 'ws')}/api/kernels/none/channels?session_id={ENCODED}"
        for headers in (
            {"Cookie": cookie},
            {"Authorization": f"token {TOKEN}"},
            {"Cookie": cookie, "Origin": "http://x"},
        ):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(url, additional_headers=headers, proxy=None)
    log = lab.log
    assert [part for part in PARTS if part in log] == []
    assert [value for value in cookies.values() if value in log or value[-20:] in log] == []
    assert all(line.isprintable() for line in log.split("\n"))
