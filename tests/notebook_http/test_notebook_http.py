"""A notebook as an HTTP API: what its clients get, how it streams, and how it begins and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ..support.apis import FOREVER, GATE, IMPORTS, PID, Serve, apis
from ..support.client import Client
from ..support.events import parse_events
from ..support.gateways import Gateway
from ..support.notebooks import code_cell, markdown_cell
from ..support.raw_http import raw_request
from ..support.waits import until

PRINTS = """
pathlib.Path(args("started")).touch()
stream("one\\n")
until(args("gate"))
stream("two\\n")
"""
FLOOD = """
try:
    while True:
        stream("x" * 2_000_000)
        time.sleep(0.05)
except KeyboardInterrupt:
    pathlib.Path(args("started")).touch()
    raise
"""
CELLS = [
    PID,
    FOREVER,
    "# GET /hello/:name\nstream(json.loads(REQUEST)['path']['name'])",
    "# GET /fail\nstream('lost'); 1 / 0",
    "# GET /page\nstream('<h1>page</h1>')",
    "# ResponseInfo GET /page\nstream(json.dumps({'headers': {'Content-Type': 'text/html'}, 'status': 203}))",
    "# PATCH /thing\nstream(json.loads(REQUEST)['body'])",
    "# HEAD /thing\nstream('seen')",
    "# POST /size\nstream(str(len(json.loads(REQUEST)['body'])))",
    code_cell(f"# GET /stream{PRINTS}", stream=True),
    f"# GET /events{PRINTS}",
    code_cell(f"# GET /late{PRINTS}1 / 0", stream=True),
    code_cell("# GET /stream/forever\nstream('begun')\nforever()", stream=True),
    code_cell(f"# GET /flood{FLOOD}", stream=True),
    code_cell("# GET /large\nstream('x' * 20_000_000)\nstream('.')", stream=True),
    code_cell("# GET /stream/die\nstream('begun')\nuntil(args('gate'))\nos._exit(7)", stream=True),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with apis(tmp_path_factory.mktemp("shared")) as serve:
        yield serve(*CELLS)


@pytest.fixture
async def client(shared: Gateway) -> AsyncIterator[Client]:
    async with Client(shared.url) as client:
        yield client


# --- requests and responses ----------------------------------------------------------------------


async def test_what_a_cell_prints_is_the_response(client: Client) -> None:
    response = await client.http.get("/hello/you")
    assert (response.status_code, response.text) == (200, "you")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_an_error_is_500(client: Client) -> None:
    response = await client.http.get("/fail")
    assert (response.status_code, response.text) == (500, "Error ZeroDivisionError: division by zero \n")


async def test_a_page_may_have_scripts_and_an_error_may_not(client: Client) -> None:
    page = await client.http.get("/page")
    assert (page.status_code, page.text, page.headers["content-type"]) == (203, "<h1>page</h1>", "text/html")
    policy = page.headers["content-security-policy"]  # who may frame it, and nothing about scripts
    assert policy.startswith("frame-ancestors 'self'; report-uri ")
    assert "-src" not in policy
    assert "default-src 'none'" in (await client.http.get("/nowhere")).headers["content-security-policy"]


async def test_head_is_get_without_the_body_unless_it_has_a_cell(client: Client) -> None:
    get = await client.http.head("/hello/you")
    assert (get.status_code, get.content, get.headers["content-length"]) == (200, b"", "3")
    own = await client.http.head("/thing")
    assert (own.status_code, own.content) == (200, b"")
    assert "content-length" not in own.headers


async def test_patch_and_its_body(client: Client) -> None:
    assert (await client.http.patch("/thing", content="body")).text == "body"


@pytest.mark.parametrize("method", ["GET", "POST", "TRACE", "BREW"])
async def test_another_verb_is_405_and_says_which_there_are(shared: Gateway, method: str) -> None:
    response = await raw_request(shared.url, method, "/thing")
    assert (response.status_code, response.headers["allow"]) == (405, "HEAD, PATCH, OPTIONS")
    assert response.json()["reason"] == "Method Not Allowed"


async def test_options_is_answered_everywhere(client: Client) -> None:
    assert (await client.http.options("/thing")).status_code == 200


async def test_an_escaped_slash_stays_in_its_parameter(shared: Gateway) -> None:
    assert (await raw_request(shared.url, "GET", "/hello/a%2Fb%20c")).body == b"a/b c"
    assert (await raw_request(shared.url, "GET", "/hello/a/b")).status_code == 404


async def test_a_body_may_be_as_large_as_for_the_original(client: Client) -> None:
    response = await client.http.post("/size", content="x" * 3_000_000)
    assert (response.status_code, response.text) == (200, "3000000")


async def test_below_a_base_url_and_behind_a_token(serve: Serve) -> None:
    gateway = serve("# GET /hello/:name\nstream(json.loads(REQUEST)['path']['name'])", base_url="/über/uns", token="s")
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        assert (await http.get("/hello/you")).status_code == 401
        assert (await http.get("/nowhere")).status_code == 404
        assert (await http.get("/_api/spec/swagger.json")).status_code == 401
        assert (await http.get("/hello/you", headers={"Authorization": "token s"})).text == "you"
        assert (await http.get("/hello/a%2Fb?token=s")).text == "a/b"


async def test_parameters_do_not_hide_the_health_of_the_server(serve: Serve) -> None:
    """They would be cells that need no token."""
    gateway = serve("# GET /:any\nstream('cell')", "# GET /api/:any\nstream('cell')", token="secret")
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert (await http.get("/api/swagger.json")).status_code == 401
        assert (await http.get("/other?token=secret")).text == "cell"
        assert (await http.get("/openapi.json?token=secret")).json()["openapi"] == "3.0.3"


async def test_the_notebook_is_told_only_when_that_is_allowed(serve: Serve, client: Client) -> None:
    assert (await client.http.get("/_api/source")).status_code == 404
    gateway = serve(PID, allow_notebook_download=True)
    async with Client(gateway.url) as other:
        told = (await other.http.get("/_api/source")).json()
    assert [cell["source"] for cell in told["cells"]] == [IMPORTS, PID]


async def test_files_of_the_static_folder(serve: Serve, client: Client, tmp_path: Path) -> None:
    assert (await client.http.get("/public/a.html")).status_code == 404
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.html").write_text("<p>")
    (tmp_path / "secret").write_text("no")
    gateway = serve(PID, static_path=tmp_path / "public")
    async with Client(gateway.url) as other:
        page = await other.http.get("/public/a.html")
        assert (page.text, page.headers["content-type"]) == ("<p>", "text/html")
        assert (await other.http.get("/public/b.html")).status_code == 404
        for name in (".env", ".git/config", "a/.ssh/id", ".well-known/x.txt"):
            (tmp_path / "public" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "public" / name).write_text("secret")
            assert (await other.http.get(f"/public/{name}")).status_code == (200 if "well" in name else 404), name
    assert (await raw_request(gateway.url, "GET", "/public/%2e%2e/secret")).status_code == 404


async def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    gateway = serve("# POST /size\nstream('no')", PID, request_timeout_s=0.5)
    reader, writer = await connect(gateway, "POST /size HTTP/1.1\r\nContent-Length: 5\r\nX: y")
    assert (await reader.readline()).startswith(b"HTTP/1.1 504 ")
    writer.close()
    await writer.wait_closed()


async def test_the_python_kernel_neither_asks_nor_goes_on(serve: Serve, tmp_path: Path) -> None:
    """The tiny kernels take messages as they are; this one has a mind of its own."""
    pid = "# GET /pid\nos.getpid()"
    gateway = serve("# GET /ask\ninput('?')", pid, FOREVER, kernel="python3", request_timeout_s=2)
    async with Client(gateway.url) as client:
        before = (await client.http.get("/pid")).json()
        asked = await client.http.get("/ask")
        assert asked.status_code == 500
        assert asked.text.startswith("Error StdinNotImplementedError")
        assert (await client.http.get("/forever", params={"started": str(tmp_path / "s")})).status_code == 504
        await until((tmp_path / "s.interrupted").exists)
        assert (await client.http.get("/pid")).json() == before


# --- streams -------------------------------------------------------------------------------------


async def connect(gateway: Gateway, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request was sent; it reads no more than it is asked to, but for its buffers."""
    netloc = urlsplit(gateway.url).netloc
    host, port = netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}\r\nHost: {netloc}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize(
    ("path", "accept", "pieces"),
    [
        ("/stream", "*/*", ["one\n", "two\n"]),
        ("/events", "text/event-stream", ["data: one\ndata: \n\n", "data: two\ndata: \n\n"]),
        ("/late", "*/*", ["one\n", "two\nError ZeroDivisionError: division by zero \n"]),
        (
            "/late",
            "text/event-stream",
            [
                "data: one\ndata: \n\n",
                "data: two\ndata: \n\nevent: error\n"
                'data: {"ename": "ZeroDivisionError", "evalue": "division by zero"}\n\n',
            ],
        ),
    ],
)
async def test_pieces_arrive_while_the_cell_runs(
    client: Client, tmp_path: Path, path: str, accept: str, pieces: list[str]
) -> None:
    gate = tmp_path / "gate"
    params = {"started": str(tmp_path / "started"), "gate": str(gate)}
    async with client.http.stream("GET", path, params=params, headers={"Accept": accept}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == ("text/plain; charset=utf-8" if accept == "*/*" else accept)
        assert "content-length" not in response.headers
        first, rest = "", ""
        async for text in response.aiter_text():
            if not gate.exists():
                first += text
                if first == pieces[0]:
                    gate.touch()
            else:
                rest += text
    assert [first, rest] == pieces


async def test_a_silent_event_stream_is_kept_alive(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(GATE, hasty=True)
    gate = tmp_path / "gate"
    params = {"started": str(tmp_path / "started"), "gate": str(gate)}
    headers = {"Accept": "text/event-stream"}
    async with (
        Client(gateway.url) as client,
        client.http.stream("GET", "/gate", params=params, headers=headers) as response,
    ):
        data = b""
        async for piece in response.aiter_bytes():
            data += piece
            if data.count(b":\n\n") >= 3:
                gate.touch()
    assert data.startswith(b":\n\n" * 3)
    [(kind, _)] = parse_events(data)
    assert kind == "message"


async def test_a_client_that_leaves_its_stream_interrupts_the_cell(client: Client, tmp_path: Path) -> None:
    [before] = [(await client.http.get("/pid")).text]
    async with client.http.stream("GET", "/stream/forever", params={"started": str(tmp_path / "s")}) as response:
        texts = response.aiter_text()  # the client would leave with it, were it not kept
        assert await anext(texts) == "begun"
        await until((tmp_path / "s").exists)  # an interrupt before that would leave no trace
    await until((tmp_path / "s.interrupted").exists)
    assert (await client.http.get("/pid")).text == before


async def test_a_client_that_does_not_read_its_stream_keeps_no_kernel(
    shared: Gateway, client: Client, tmp_path: Path
) -> None:
    before = (await client.http.get("/pid")).text
    _, writer = await connect(shared, f"GET /flood?started={tmp_path / 'interrupted'} HTTP/1.1")
    await until((tmp_path / "interrupted").exists)
    assert (await client.http.get("/pid")).text == before
    writer.transport.abort()


async def test_a_client_that_does_not_read_is_told_when_it_does(shared: Gateway, tmp_path: Path) -> None:
    reader, writer = await connect(shared, f"GET /flood?started={tmp_path / 'interrupted'} HTTP/1.0")
    await until((tmp_path / "interrupted").exists)
    end = b""
    while data := await reader.read(1_000_000):
        end = (end + data)[-100:]
    assert b"Error TooSlow: " in end
    writer.close()
    await writer.wait_closed()


async def test_one_large_text_is_streamed_to_who_reads(client: Client) -> None:
    assert len((await client.http.get("/large")).content) == 20_000_001


async def test_a_kernel_that_dies_ends_its_stream(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with client.http.stream("GET", "/stream/die", params={"gate": str(gate)}) as response:
        texts = response.aiter_text()
        assert await anext(texts) == "begun"
        gate.touch()
        assert "DeadKernelError" in "".join([text async for text in texts])
    assert (await client.http.get("/pid")).status_code == 200


async def test_a_stream_that_takes_too_long_is_ended(serve: Serve, tmp_path: Path) -> None:
    cells = [code_cell("# GET /stream/forever\nstream('begun')\nforever()", stream=True), PID]
    gateway = serve(*cells, request_timeout_s=1)
    async with Client(gateway.url) as client:
        before = (await client.http.get("/pid")).text
        response = await client.http.get("/stream/forever", params={"started": str(tmp_path / "s")})
        assert response.text == "begun\nError Timeout: the cell did not end within 1 s \n"
        await until((tmp_path / "s.interrupted").exists)
        assert (await client.http.get("/pid")).text == before


# --- the end -------------------------------------------------------------------------------------


async def test_what_is_under_way_is_answered_and_nothing_new_is_taken(serve: Serve, tmp_path: Path) -> None:
    streamed = code_cell(f"# GET /stream{PRINTS}", stream=True)
    gateway = serve(GATE, PID, streamed, prespawn_count=2)
    gate, started = tmp_path / "gate", [tmp_path / "1", tmp_path / "2"]
    async with Client(gateway.url) as client:
        running = [
            asyncio.create_task(client.http.get(path, params={"started": str(file), "gate": str(gate)}))
            for path, file in zip(("/gate", "/stream"), started, strict=True)
        ]
        await until(lambda: all(file.exists() for file in started))
        queued = asyncio.create_task(client.http.get("/pid"))
        await client.http.get("/healthz")
        gateway.process.terminate()
        while (await client.http.get("/readyz")).status_code == 200:
            pass
        refused = await client.http.get("/pid")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        gate.touch()
        assert [(await one).status_code for one in running] == [200, 200]
        assert (await running[1]).text == "one\ntwo\n"
        assert (await queued).status_code in (200, 503)  # it may have come after the signal
    assert gateway.wait_end() == 0
    assert gateway.kernel_processes() == []
    assert "is replaced" not in gateway.log


async def test_a_cell_that_never_ends_does_not_keep_the_server(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(FOREVER, PID, hasty=True, shutdown_wait_time=0.2)
    async with Client(gateway.url) as client:
        running = asyncio.create_task(client.http.get("/forever", params={"started": str(tmp_path / "started")}))
        await until((tmp_path / "started").exists)
        waiting = asyncio.create_task(client.http.get("/pid"))
        await client.http.get("/healthz")
        gateway.process.send_signal(signal.SIGTERM)
        assert (await running).status_code in (500, 502)
        assert (await waiting).status_code == 503
    assert gateway.wait_end() == 0
    assert gateway.kernel_processes() == []
    assert "is replaced" not in gateway.log


# --- the beginning -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "options", "complaint"),
    [
        ([], {}, "no cell has an annotation such as '# GET /hello'"),
        (["# GET /:a/:a"], {}, "cell 1: the parameter ':a' is in '/:a/:a' more than once"),
        ([PID], {"static_path": "nowhere"}, "static_path=nowhere: "),
        ([PID], {"cell_parser": "no.such.parser"}, "cell_parser=no.such.parser: "),
        ([PID], {"queue_limit": -1}, "queue_limit=-1: "),
        ([PID], {"request_timeout_s": -1}, "request_timeout_s=-1"),
        (
            [markdown_cell(""), "1 / 0", PID],
            {"prespawn_count": 2},
            "cell 2 of the seed notebook notebook0.ipynb failed: ZeroDivisionError",
        ),
    ],
    ids=["no endpoint", "annotation", "static_path", "cell_parser", "queue_limit", "timeout", "seed"],
)
def test_what_keeps_it_from_starting_is_one_line(serve: Serve, cells: list, options: dict, complaint: str) -> None:
    gateway = serve(*cells, ready=False, **options)
    assert gateway.wait_end() == 1
    [line] = gateway.log.splitlines()
    assert line.startswith("fps-kernels: ")
    assert complaint in line
    assert gateway.kernel_processes() == []
    assert gateway.connection_files() == []


def test_it_does_not_start_without_a_notebook(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", "--api=notebook-http")
    assert gateway.wait_end() == 1
    assert gateway.log == "fps-kernels: api=notebook-http: there is no notebook; set seed_uri\n"


def test_what_is_doubtful_in_a_notebook_is_said(serve: Serve) -> None:
    log = serve("# get /hello", "# GET /healthz", PID).log
    assert "notebook0.ipynb: cell 1: '# get /hello' is not an annotation" in log
    assert "notebook0.ipynb: cell 2: /healthz is the server's own" in log


def test_a_kernel_that_does_not_start_is_one_line(serve: Serve) -> None:
    gateway = serve(PID, kernel="tiny_exits", ready=False)
    assert gateway.wait_end() == 1
    [line] = gateway.log.splitlines()
    assert "tiny_exits" in line
