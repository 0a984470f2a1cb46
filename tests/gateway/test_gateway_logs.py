"""The gateway's log with --debug: no token in it, wherever a client puts it, and no line that a client wrote."""

from __future__ import annotations

import base64
import contextlib
from urllib.parse import quote

import httpx
import pytest
import websockets
from websockets.typing import Subprotocol

from ..support.client import Client
from ..support.entrances import ENTRANCES, open_entrance
from ..support.gateways import Begin, Gateway, option
from ..support.raw_http import raw_request

TOKEN = "s3cr3t/T0KEN+of=the'gateway"
ENCODED = quote(TOKEN, safe="")
EVERY = "".join(f"%{byte:02x}" for byte in TOKEN.encode())
BASIC = base64.b64encode(f"user:{TOKEN}".encode()).decode()
PARTS = ("s3cr3t", "T0KEN", "gateway%27", BASIC[8:30], ENCODED[:12], EVERY[:12])
"""What would be seen of it in some spelling."""
OTHER = "an0ther-sites-s3ssion"
"""A secret that the gateway does not know."""


@pytest.fixture(scope="module")
def gateway(begin_shared: Begin) -> Gateway:
    return begin_shared("--debug", option("auth_token", TOKEN))


HEADERS = {
    "token": {"Authorization": f"token {TOKEN}"},
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "basic": {"Authorization": f"Basic {BASIC}"},
    "no scheme": {"Authorization": TOKEN},
    "proxy": {"Proxy-Authorization": f"Basic {BASIC}"},
    "cookie": {"Cookie": f"username={ENCODED}; session={OTHER}"},
    "referer": {"Referer": f"http://host/docs?token={ENCODED}"},
    "referer of a referer": {"Referer": f"http://host/login?next={quote(f'/lab?token={ENCODED}', safe='')}"},
    "xsrf": {"X-XSRFToken": OTHER},
    "own header": {"X-Proxy-Secret": OTHER, "X-Other": TOKEN},
    "origin": {"Origin": f"http://{TOKEN}.example"},
    "user agent": {"User-Agent": TOKEN},
}
TARGETS = {
    "query": f"/api/kernels?token={ENCODED}",
    "percent": f"/api/kernels?%74oken={EVERY}",
    "plain": f"/api/kernels?token={TOKEN.replace(chr(39), '')}{TOKEN}",
    "other query": f"/api/kernels?a=b&x={ENCODED}&access_token={OTHER}",
    "path": f"/api/kernels/{ENCODED}",
    "every": f"/api/kernels/{EVERY}/channels?token={EVERY}",
    "twice": f"/{quote(ENCODED, safe='')}?token={quote(ENCODED, safe='')}",
    "URL": f"http://user:{ENCODED}@127.0.0.1/api?token={ENCODED}",
}


def check(log: str) -> None:
    assert [part for part in (*PARTS, OTHER) if part in log] == []


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_headers(gateway: Gateway, headers: dict[str, str]) -> None:
    for method, target in (
        ("GET", "/api/kernelspecs"),
        ("GET", "/nowhere"),
        ("BREW", "/api"),
        ("POST", "/api/kernels"),
    ):
        await raw_request(gateway.url, method, target, headers=headers, body=TOKEN.encode())
    upgrade = {name: value for name, value in headers.items() if name != "Origin"}
    for authorization in ({}, {"Authorization": f"token {TOKEN}"}):
        with contextlib.suppress(websockets.InvalidStatus):
            url = f"{gateway.url.replace('http', 'ws')}/api/kernels/none/channels?session_id={ENCODED}"
            async with websockets.connect(url, additional_headers={**upgrade, **authorization}, proxy=None):
                raise AssertionError("there is no such kernel")
    check(gateway.log)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_targets(gateway: Gateway, target: str) -> None:
    for method in ("GET", "POST", "BREW"):
        await raw_request(gateway.url, method, target)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    for key in ({}, {"Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode()}):
        await raw_request(gateway.url, "GET", target, headers={**upgrade, **key})
    check(gateway.log)


async def test_what_is_no_request(gateway: Gateway) -> None:
    for target in (f"/ {TOKEN}", f"/\x01{TOKEN}", TOKEN):
        await raw_request(gateway.url, "GET", target, headers={"A B": TOKEN, "Authorization": TOKEN})
    check(gateway.log)


async def test_a_kernel_and_its_websocket(gateway: Gateway) -> None:
    """The token is in the handshake, in frames, and in the name of the session, which is logged."""
    async with Client(gateway.url) as client:
        client.http.headers["Authorization"] = f"token {TOKEN}"
        body = {"name": "tiny_plain", "env": {"KERNEL_TOKEN": TOKEN.replace("'", "")}, "path": TOKEN}
        kernel = (await client.http.post("/api/kernels", json=body)).json()
        for name in (TOKEN, "no_such_kernel"):
            await client.http.post("/api/kernels", json={"name": name, "kernel_id": TOKEN})
        url = f"{gateway.url.replace('http', 'ws')}/api/kernels/{kernel['id']}/channels"
        async with websockets.connect(
            f"{url}?token={ENCODED}&session_id={EVERY}",
            additional_headers={"Cookie": f"a={OTHER}", "Referer": f"http://x/?token={ENCODED}"},
            subprotocols=[
                Subprotocol("v1.token.websocket.jupyter.org"),
                Subprotocol(f"v1.token.websocket.jupyter.org.{OTHER}"),
            ],
            proxy=None,
        ) as websocket:
            await websocket.send(f'{{"token": "{TOKEN}"}}')
            await websocket.send(f'{{"header": {{"msg_type": "{TOKEN}"}}}}')
            await websocket.send("token " + TOKEN)
            await websocket.close(1000, TOKEN)
        await client.http.delete(f"/api/kernels/{kernel['id']}")
    log = gateway.log
    check(log)
    assert "session [hidden] sent a malformed message" in log


# --- lines --------------------------------------------------------------------------------------

FORGED = "x\n[E 2026-01-01 00:00:00.000 fps_kernels] forged\r\x1b[2J\x9b1m\u2028\u202e"


async def test_nobody_writes_a_line_of_their_own(begin: Begin) -> None:
    gateway = begin("--debug")
    forged = quote(FORGED, safe="")
    async with Client(gateway.url) as client:
        kernel = (await client.http.post("/api/kernels", json={"name": "tiny_plain"})).json()
        for path in (f"/api/kernels/{forged}", f"/{forged}?{forged}", f"/kernelspecs/{forged}/{forged}"):
            for method in ("GET", "DELETE", "POST", "PATCH"):
                await client.http.request(method, path)
        for body in ({"name": FORGED}, {"kernel_id": FORGED}, {"path": FORGED}, {"env": {FORGED: FORGED}}, {FORGED: 1}):
            response = await client.http.post("/api/kernels", json=body)
            if response.status_code == 201:
                await client.http.delete(f"/api/kernels/{response.json()['id']}")
        await client.http.post("/api/sessions", json={"path": FORGED, "type": FORGED, "kernel": {"name": FORGED}})
        url = f"{gateway.url.replace('http', 'ws')}/api/kernels/{kernel['id']}/channels?session_id={forged}"
        async with websockets.connect(url, proxy=None) as websocket:
            await websocket.send(FORGED)
            await websocket.send('{"header": {"msg_type": "x\\nforged"}, "channel": "x\\nforged"}')
            code = f"import sys; sys.stderr.write({FORGED!r}); sys.stderr.flush()"
            async with await client.connect(kernel["id"]) as socket:
                await socket.run(code)
        for header in (b"\x80forged", FORGED.replace("\n", "").replace("\r", "").encode()):
            with contextlib.suppress(httpx.HTTPError):
                await client.http.get("/api", headers=[(b"Origin", header), (b"X-Forwarded-For", header)])
    gateway.stop()
    log = gateway.log
    assert "forged" in log
    lines = log.split("\n")
    assert [line for line in lines if line.startswith("[E 2026-01-01 00:")] == []
    assert [line for line in lines if not line.isprintable()] == []


OPENING = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize("name", ENTRANCES[:2])
def test_websockets_that_are_not_opened_are_not_logged_each_time(begin: Begin, name: str) -> None:
    """Strangers could write as many lines as they liked: two for each attempt."""
    entrance = open_entrance(begin, name)
    right = {"Authorization": f"token {entrance.token}"}
    attempts: dict[str, tuple[set[int], dict[str, str]]] = {
        "no token": ({401}, {}),
        "a page of another origin": ({403, 404}, {**right, "Origin": "http://elsewhere.example"}),
        "another version": ({400}, {"Sec-WebSocket-Version": "12"}),
        "no kernel": ({404}, right),
    }
    with httpx.Client(base_url=entrance.server.url, trust_env=False, timeout=30) as http:
        for what, (statuses, headers) in attempts.items():
            before = entrance.server.log.count("\n")
            for _ in range(30):
                answer = http.get(f"/api/kernels/{what.replace(' ', '-')}/channels", headers={**OPENING, **headers})
                assert answer.status_code in statuses, what
            assert 0 < entrance.server.log.count("\n") - before < 10, what
