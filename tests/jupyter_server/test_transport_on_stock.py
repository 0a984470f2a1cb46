"""Ways to a stock Jupyter Server whose kernels are ours: TLS, a Unix socket, a proxy; and clients that stop reading."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.typing import Subprotocol

from ..support.client import Client, Socket
from ..support.gateways import make_certificate
from ..support.messages import V1, of_type, text_of
from ..support.ports import free_port
from ..support.programs import need
from ..support.servers import options
from ..support.stock import OPEN, BeginStock, StockServer
from .conftest import READY

MIB = 1024 * 1024
SLOW = options(client_max_bytes=8 * MIB)
BLOCKS = "import os\nfor i in range({first}, {last}): publish('display_data', {{'i': i}}, buffers=[bytes(1 << 18)])"
"""Messages of 256 KiB."""


class TlsServer(StockServer):
    """With a certificate of its own, and with encrypted kernels."""

    def __init__(self, base: Path) -> None:
        base.mkdir()
        certificate, key = make_certificate(base, "stock")
        self.context = ssl.create_default_context(cafile=certificate)
        super().__init__(
            base,
            *OPEN,
            *READY,
            *SLOW,
            f"--certfile={certificate}",
            f"--keyfile={key}",
            "--MappingKernelManager.transport_encryption=required",
        )
        self.url = f"https{self.url[4:]}"

    def ask(self) -> None:
        httpx.get(f"{self.url}/api", timeout=5, trust_env=False, verify=self.context)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path_factory.mktemp("tls") / "server")
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def tls_client(tls: TlsServer) -> AsyncIterator[Client]:
    async with Client(tls.url) as client:
        client.http = httpx.AsyncClient(base_url=tls.url, timeout=60, trust_env=False, verify=tls.context)
        yield client


class UnixServer(StockServer):
    """On a socket, below a base URL."""

    def __init__(self, base: Path, sock: Path) -> None:
        self.sock = sock
        super().__init__(base, *OPEN, *READY, *SLOW, "--ServerApp.base_url=/user/me/")
        self.url = "http://localhost/user/me"

    def place(self) -> list[str]:
        return [f"--sock={self.sock}"]

    def ask(self) -> None:
        if not self.sock.exists():
            raise httpx.ConnectError("It does not listen yet")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.sock)), timeout=5) as http:
            http.get(f"{self.url}/api")


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnixServer]:
    with tempfile.TemporaryDirectory() as folder:  # the path of the socket must be short
        server = UnixServer(tmp_path_factory.mktemp("unix") / "server", Path(folder) / "s")
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()


@pytest.fixture
async def unix_client(unix: UnixServer) -> AsyncIterator[Client]:
    async with Client(unix.url) as client:
        transport = httpx.AsyncHTTPTransport(uds=str(unix.sock))
        client.http = httpx.AsyncClient(base_url=unix.url, timeout=60, transport=transport)
        yield client


async def unix_socket(unix: UnixServer, kernel_id: str, *, v1: bool = True, session: str = "mine") -> Socket:
    connection = await websockets.unix_connect(
        str(unix.sock),
        f"ws://localhost/user/me/api/kernels/{kernel_id}/channels?session_id={session}",
        subprotocols=[Subprotocol(V1)] if v1 else None,
        max_size=None,
        compression=None,
        max_queue=1,
    )
    return Socket(connection, session)


USER = f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}"
"""Who may use the socket. As another one, nginx could not."""
NGINX = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port};
        location /user/me/ {{
            proxy_pass http://unix:{sock};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def proxied(unix: UnixServer) -> Iterator[str]:
    """The URL of the same server behind nginx."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or need("nginx")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, sock=unix.sock, user=USER))
        process = subprocess.Popen([program, "-p", name, "-c", "nginx.conf", "-e", "error.log"])
        url = f"http://127.0.0.1:{port}/user/me"
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"{url}/api", timeout=5, trust_env=False)
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait(60)


async def starve(reader: Socket, lazy: Socket) -> None:
    """Have the kernel put out more than may wait for `lazy`, which reads nothing; `reader` gets everything."""
    for first in range(0, 160, 8):
        answers = await reader.run(BLOCKS.format(first=first, last=first + 8))
        assert [m["content"]["i"] for m in of_type(answers, "display_data")] == [*range(first, first + 8)]
        reader.received.clear()
    code, _ = await lazy.closed()
    assert code == 1013


@pytest.mark.parametrize("v1", [True, False])
async def test_tls(tls: TlsServer, tls_client: Client, v1: bool) -> None:
    kernel_id = await tls_client.start("tiny_curve")
    async with await tls_client.connect(kernel_id, v1=v1, ssl=tls.context) as socket:
        assert text_of(await socket.run("stream('secret')")) == "secret"
        assert text_of(await socket.run("stream('x' * 5_000_000)")) == "x" * 5_000_000
    await tls_client.http.delete(f"/api/kernels/{kernel_id}")


async def test_a_client_over_tls_that_stops_reading(tls: TlsServer, tls_client: Client) -> None:
    kernel_id = await tls_client.start("tiny_curve")
    lazy = await tls_client.connect(kernel_id, ssl=tls.context, max_queue=1, compression=None, session="lazy")
    await lazy.receive()
    async with await tls_client.connect(kernel_id, ssl=tls.context, compression=None) as reader:
        await starve(reader, lazy)
    again = await tls_client.connect(kernel_id, ssl=tls.context, session="lazy", compression=None)
    async with again:  # what it missed is kept
        await again.until(lambda m: m["header"]["msg_type"] == "display_data" and m["content"]["i"] == 159)


async def test_a_kernel_that_cannot_be_encrypted_is_refused_where_that_is_required(
    tls: TlsServer, tls_client: Client
) -> None:
    assert (await tls_client.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 500
    kernel_id = await tls_client.start("tiny_curve")
    info = json.loads((tls.runtime / f"kernel-{kernel_id}.json").read_text())
    assert info["curve_publickey"]


@pytest.mark.parametrize("v1", [True, False])
async def test_a_unix_socket(unix: UnixServer, unix_client: Client, v1: bool) -> None:
    kernel_id = await unix_client.start()
    async with await unix_socket(unix, kernel_id, v1=v1) as socket:
        assert text_of(await socket.run("stream('near')")) == "near"
        assert (await unix_client.http.post(f"/api/kernels/{kernel_id}/restart")).status_code == 200
        assert text_of(await socket.run("stream('still')")) == "still"


async def test_a_client_on_a_unix_socket_that_stops_reading(unix: UnixServer, unix_client: Client) -> None:
    kernel_id = await unix_client.start()
    lazy = await unix_socket(unix, kernel_id, session="lazy")
    await lazy.receive()
    async with await unix_socket(unix, kernel_id, session="reader") as reader:
        await starve(reader, lazy)


@pytest.mark.parametrize("v1", [True, False])
async def test_behind_nginx(proxied: str, v1: bool) -> None:
    async with Client(proxied) as client:
        session = await client.start_session(f"{v1}.ipynb")
        kernel_id = session["kernel"]["id"]
        origin = proxied.removesuffix("/user/me")
        async with await client.connect(kernel_id, v1=v1, origin=origin, session="mine") as socket:
            assert socket.v1 is v1
            assert text_of(await socket.run("stream('through')")) == "through"
            assert text_of(await socket.run("stream('x' * 5_000_000)")) == "x" * 5_000_000
            socket.ws.transport.abort()
        async with await client.connect(kernel_id, v1=v1, origin=origin, session="mine") as socket:
            assert text_of(await socket.run("stream('again')")) == "again"
            await client.http.delete(f"/api/kernels/{kernel_id}")
            assert (await socket.closed())[0] == 1000
        with pytest.raises(websockets.InvalidStatus) as refused:
            await client.connect(kernel_id, origin="http://evil.example")
        assert refused.value.response.status_code in (403, 404)


async def test_a_client_behind_nginx_that_stops_reading_holds_nobody_up(proxied: str) -> None:
    async with Client(proxied) as client:
        kernel_id = await client.start()
        lazy = await client.connect(kernel_id, max_queue=1, compression=None)
        await lazy.receive()
        async with await client.connect(kernel_id, compression=None) as reader:
            await starve(reader, lazy)


# --- messages of clients ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(begin_shared: BeginStock) -> StockServer:
    return begin_shared(*READY, f"--FpsMappingKernelManager.ws_max_message_bytes={MIB}")


async def test_a_buffer_of_64_mib_reaches_the_kernel(unix: UnixServer, unix_client: Client) -> None:
    kernel_id = await unix_client.start()
    async with await unix_socket(unix, kernel_id) as socket:
        content = {"code": "stream('taken')", "silent": False, "store_history": True, "allow_stdin": False}
        answers = await socket.answers(await socket.send("execute_request", content, buffers=[bytes(64 * MIB)]))
        assert text_of(answers) == "taken"


async def refusal(socket: Socket, message: Any) -> tuple[int | None, str | None]:
    """How the server closes a WebSocket to which this is sent."""
    with suppress(websockets.ConnectionClosed):
        await socket.ws.send(message)
    await socket.ws.wait_closed()
    return socket.ws.close_code, socket.ws.close_reason


async def test_more_than_64_mib_is_refused_by_default(unix: UnixServer, unix_client: Client) -> None:
    kernel_id = await unix_client.start()
    code, reason = await refusal(await unix_socket(unix, kernel_id), bytes(65 * MIB))
    assert (code, reason) == (1009, f"a message has more than {64 * MIB + 65_536} bytes (ws_max_message_bytes)")


TOO_LARGE: dict[str, Callable[[], Any]] = {
    "binary": lambda: bytes(MIB + 1),
    "text": lambda: "x" * (MIB + 1),
    "fragments": lambda: [bytes(MIB // 2)] * 3,
    "much more than is read at a time": lambda: bytes(40 * MIB),
    "much more, in fragments": lambda: [bytes(MIB // 2)] * 80,
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_a_message_that_is_too_large_is_refused_by_name(small: StockServer, what: str) -> None:
    async with Client(small.url) as client:
        kernel_id = await client.start()
        async with await client.connect(kernel_id) as other:
            code, reason = await refusal(await client.connect(kernel_id), TOO_LARGE[what]())
            assert (code, reason) == (1009, f"a message has more than {MIB} bytes (ws_max_message_bytes)")
            assert text_of(await other.run("stream('still')")) == "still"
        await client.http.delete(f"/api/kernels/{kernel_id}")


async def test_a_message_that_is_too_large_is_refused_over_tls(tls: TlsServer, tls_client: Client) -> None:
    kernel_id = await tls_client.start("tiny_curve")
    code, reason = await refusal(await tls_client.connect(kernel_id, ssl=tls.context), bytes(65 * MIB))
    assert (code, "ws_max_message_bytes" in str(reason)) == (1009, True)


async def test_tornados_own_bound_counts_where_it_is_set(begin_shared: BeginStock) -> None:
    settings = {"websocket_max_message_size": 2 * MIB, "websocket_compression_options": {}}
    server = begin_shared(*READY, f"--ServerApp.tornado_settings={settings}")
    async with Client(server.url) as client:
        kernel_id = await client.start()
        for compression in (None, "deflate"):
            socket = await client.connect(kernel_id, compression=compression)
            content = {"code": "stream('open')", "silent": False, "store_history": True, "allow_stdin": False}
            msg_id = await socket.send("execute_request", content, buffers=[bytes(2 * MIB - 4096)])
            assert text_of(await socket.answers(msg_id)) == "open"
            code, reason = await refusal(socket, bytes(2 * MIB + 1))
            assert (code, reason) == (1009, f"a message has more than {2 * MIB} bytes (websocket_max_message_size)")


@pytest.mark.parametrize("value", ["1000", str(2**40), "many"])
def test_a_bound_that_makes_no_sense_is_refused(begin_shared: BeginStock, value: str) -> None:
    with pytest.raises(AssertionError, match="ws_max_message_bytes"):
        begin_shared(f"--FpsMappingKernelManager.ws_max_message_bytes={value}")
