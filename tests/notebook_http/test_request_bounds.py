"""What a request may cost: its size, its fields and its depth, and the bodies of all requests together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ..support.apis import DIE, FOREVER, PID, Serve, apis, complaint
from ..support.client import Client
from ..support.gateways import Gateway
from ..support.notebooks import code_cell
from ..support.waits import until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
SIZE = "# POST /size\nstream(str(len(json.loads(REQUEST)['body'])))"
WAIT = """# POST /wait
pathlib.Path(args("started")).touch()
until(args("gate"))
"""
MOST = b"x" * 900_000
"""A body for which there is only room when no other counts: the bound of all together is 1,000,000."""


class RawPost:
    """A client that sends the head of a POST, and of the body what it likes."""

    def __init__(self, gateway: Gateway, target: str, *headers: str) -> None:
        self._netloc = urlsplit(gateway.url).netloc
        self._head = "\r\n".join([f"POST {target} HTTP/1.1", f"Host: {self._netloc}", *headers, "", ""])

    async def __aenter__(self) -> RawPost:
        host, port = self._netloc.split(":")
        self.reader, self._writer = await asyncio.open_connection(host, int(port))
        await self.send(self._head.encode())
        return self

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def status(self) -> int:
        """The status of the response."""
        async with asyncio.timeout(60):
            return int((await self.reader.readline()).split()[1])

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def counted(client: Client) -> int:
    """What the bodies of all requests under way count."""
    count: int = (await client.http.get("/_books")).json()["bodies"]
    return count


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with small bounds for each request."""
    with apis(tmp_path_factory.mktemp("small")) as serve:
        yield serve(SIZE, PID, max_body_bytes=100_000, max_fields=3, max_depth=5)


@pytest.fixture
def hasty(serve: Serve) -> Gateway:
    """A gateway with one kernel and little room for bodies."""
    streamed = code_cell(f"# POST /stream\nstream('begun')\n{WAIT.partition(chr(10))[2]}", stream=True)
    cells = [SIZE, WAIT, streamed, "# POST /fail\n1 / 0", FOREVER, "# POST /forever\nforever()", DIE]
    return serve(*cells, "# POST /die\nos._exit(7)", hasty=True)


# --- one request ---------------------------------------------------------------------------------


async def test_a_large_body_is_refused_with_the_name_of_the_option(small: Gateway) -> None:
    async with Client(small.url) as client:
        assert (await client.http.post("/size", content=b"x" * 100_000)).text == "100000"
        refused = await client.http.post("/size", content=b"x" * 100_001)
        assert refused.status_code == 413
        assert "100000 bytes" in refused.json()["message"]
        assert "max_body_bytes" in refused.json()["message"]


async def test_a_body_that_says_that_it_is_large_is_refused_before_it_comes(small: Gateway) -> None:
    async with RawPost(small, "/size", "Content-Length: 100001") as client:
        assert await client.status() == 413
    async with RawPost(small, "/size", "Content-Length: 100001", "Expect: 100-continue") as client:
        assert await client.status() == 413


async def test_a_large_body_in_chunks_is_refused_when_it_is_too_large(small: Gateway) -> None:
    async with RawPost(small, "/size", "Transfer-Encoding: chunked") as client:
        for _ in range(3):
            await client.send_chunk(b"x" * 40_000)
        assert await client.status() == 413


async def test_a_client_that_sends_all_before_it_reads_gets_the_refusal(small: Gateway) -> None:
    """A server that closes the connection at once resets it, and the response is lost on the way."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    async with httpx.AsyncClient(base_url=small.url, trust_env=False, timeout=60) as client:
        assert (await client.post("/size", content=chunks())).status_code == 413
        assert (await client.post("/size", content=b"x" * 20_000_000)).status_code == 413
        assert (await client.post("/size", content=b"x")).text == "1"


@pytest.mark.parametrize(
    ("headers", "content", "option"),
    [
        (FORM, b"a=1&a=2&a=3&a=4", "max_fields"),
        (JSON, b"[" * 6 + b"]" * 6, "max_depth"),
        (JSON, b"[" * 60_000, "max_depth"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\n" * 3 + b"--b--", ""),
    ],
)
async def test_a_request_of_a_bad_form_is_refused_and_no_other_is(
    small: Gateway, headers: dict[str, str], content: bytes, option: str
) -> None:
    async with Client(small.url) as client:
        refused = await client.http.post("/size", content=content, headers=headers)
        assert refused.status_code == 400
        assert option in refused.json()["message"]
        assert (await client.http.post("/size", content=b"[1]", headers=JSON)).text == "1"


async def test_a_query_with_too_many_fields_is_refused(small: Gateway) -> None:
    async with Client(small.url) as client:
        refused = await client.http.get("/pid?a&b&c&d")
        assert (refused.status_code, "max_fields" in refused.json()["message"]) == (400, True)
        assert (await client.http.get("/pid?a&b&c")).status_code == 200


def test_bounds_come_from_the_environment_too(serve: Serve) -> None:
    gateway = serve(SIZE, env={"KG_MAX_BODY_BYTES": "10", "KG_MAX_FIELDS": "2", "KG_MAX_DEPTH": "1"})
    statuses = [
        httpx.post(f"{gateway.url}/size", content=content, headers=headers, trust_env=False).status_code
        for headers, content in ((JSON, b"[1]"), (JSON, b"[1, 2, 3, 4]"), (FORM, b"a&b&c"), (JSON, b"[[]]"))
    ]
    assert statuses == [200, 413, 400, 400]


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_body_bytes", 0), ("max_body_bytes", 2**29 + 1), ("max_fields", 0), ("max_depth", 0), ("max_depth", 501)],
)
def test_a_bound_that_cannot_be_is_one_line(serve: Serve, option: str, value: int) -> None:
    gateway = serve(PID, ready=False, **{option: value})
    assert complaint(gateway).startswith(f"fps-kernels: {option}={value}: not from 1 to ")


# --- all requests --------------------------------------------------------------------------------


async def test_a_body_counts_before_it_has_come(hasty: Gateway) -> None:
    async with Client(hasty.url) as client, RawPost(hasty, "/size", "Content-Length: 600000") as first:
        await until(lambda: counted(client))
        assert await counted(client) == 600_000
        async with RawPost(hasty, "/size", "Content-Length: 600000") as second:
            assert await second.status() == 503
        refused = await client.http.post("/size", content=b"x" * 600_000)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await client.http.post("/size", content=b"x" * 300_000)).text == "300000"
        await first.send(b"x" * 600_000)
        assert await first.status() == 200
        assert await counted(client) == 0


async def test_a_body_in_chunks_counts_while_it_comes(hasty: Gateway) -> None:
    async with Client(hasty.url) as client, RawPost(hasty, "/size", "Transfer-Encoding: chunked") as first:
        await first.send_chunk(b"x" * 600_000)

        async def come() -> bool:
            return await counted(client) == 600_000

        await until(come)
        async with RawPost(hasty, "/size", "Transfer-Encoding: chunked") as second:
            await second.send_chunk(b"x" * 600_000)
            assert await second.status() == 503
        assert await counted(client) == 600_000
        await first.send(b"0\r\n\r\n")
        assert await first.status() == 200
        assert (await client.http.post("/size", content=MOST)).status_code == 200


async def test_a_length_that_is_a_lie_does_not_matter(hasty: Gateway) -> None:
    async with Client(hasty.url) as client:
        for lie in ("9" * 5_000, "9" * 400, "5", "0"):
            async with RawPost(hasty, "/size", f"Content-Length: {lie}", "Connection: close") as liar:
                await liar.send(b"x" * 5_000)
                assert await liar.status() in (200, 413, 400)
        for lie in ("-1", "1e3", "0x10", "\u0661"):
            async with RawPost(hasty, "/size", f"Content-Length: {lie}") as liar:
                assert await liar.status() == 400
        assert await counted(client) == 0


async def nothing_counts(client: Client) -> None:
    """Until nothing counts any more; and there is room indeed."""

    async def free() -> bool:
        return await counted(client) == 0

    await until(free)
    assert (await client.http.post("/size", content=MOST)).text == "900000"


async def test_a_body_no_longer_counts_however_its_request_ends(hasty: Gateway, tmp_path: Path) -> None:
    async with Client(hasty.url) as client:
        for path in ("/size", "/fail", "/nowhere", "/die"):
            await client.http.post(path, content=MOST)
            await nothing_counts(client)
        for content, headers in ((b"--b\r\n" + MOST, {"Content-Type": "multipart/form-data; boundary=b"}),):
            assert (await client.http.post("/size", content=content, headers=headers)).status_code == 400
            await nothing_counts(client)
        async with RawPost(hasty, "/size", "Content-Length: 900000") as gone:  # hangs up while it sends
            await gone.send(b"x" * 500_000)
            await until(lambda: counted(client))
        await nothing_counts(client)
        async with RawPost(hasty, "/size", "Transfer-Encoding: chunked") as gone:
            await gone.send_chunk(b"x" * 500_000)
            await until(lambda: counted(client))
        await nothing_counts(client)
        started = tmp_path / "forever"
        async with RawPost(hasty, f"/forever?started={started}", "Content-Length: 900000") as gone:
            await gone.send(MOST)
            await until(started.exists)  # hangs up while its cell runs
        await nothing_counts(client)


async def test_a_body_that_waits_for_a_kernel_counts_until_its_client_hangs_up(hasty: Gateway, tmp_path: Path) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"
    target = f"/wait?started={started}&gate={gate}"
    async with Client(hasty.url) as client, RawPost(hasty, target, "Content-Length: 0"):
        await until(started.exists)
        async with RawPost(hasty, "/size", "Content-Length: 900000") as waiting:
            await waiting.send(MOST)
            await until(lambda: counted(client))
            assert (await client.http.post("/size", content=MOST)).status_code == 503

        async def free() -> bool:
            return await counted(client) == 0

        await until(free)
        gate.touch()


@pytest.mark.parametrize("path", ["/wait", "/stream"])
async def test_a_body_counts_no_longer_than_until_its_kernel_has_it(hasty: Gateway, tmp_path: Path, path: str) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"
    async with Client(hasty.url) as client:
        async with RawPost(hasty, f"{path}?started={started}&gate={gate}", "Content-Length: 900000") as running:
            await running.send(MOST)
            await until(started.exists)
            assert await counted(client) == 0
            gate.touch()
            assert await running.status() == 200
        await nothing_counts(client)


async def test_a_body_that_does_not_come_is_given_up(serve: Serve) -> None:
    gateway = serve(SIZE, hasty=True, env={"TEST_BODY_GRACE_S": "0.2"})
    async with Client(gateway.url) as client:
        async with RawPost(gateway, "/size", "Content-Length: 900000") as silent:
            assert await silent.status() == 408
        async with RawPost(gateway, "/size", "Transfer-Encoding: chunked") as dripping:
            answered = asyncio.create_task(dripping.status())
            while not answered.done():
                await dripping.send_chunk(b"x")
                await asyncio.wait([answered], timeout=0.01)
            assert answered.result() == 408
        assert await counted(client) == 0


async def test_a_body_that_comes_after_the_deadline_is_given_up(serve: Serve) -> None:
    gateway = serve(SIZE, hasty=True, request_timeout_s=0.5)
    async with Client(gateway.url) as client:
        async with RawPost(gateway, "/size", "Content-Length: 900000") as silent:
            assert await silent.status() == 504
        assert await counted(client) == 0


# --- what it is for ------------------------------------------------------------------------------


async def test_many_large_requests_at_once_are_answered_or_told_to_come_again(hasty: Gateway) -> None:
    body = json.dumps(["é" * 50, [], {}] * 2_000).encode()
    async with Client(hasty.url) as client:
        responses = await asyncio.gather(
            *(client.http.post("/size", content=body, headers=JSON) for _ in range(20)),
        )
        assert {response.status_code for response in responses} <= {200, 503}
        assert {response.text for response in responses if response.status_code == 200} == {"6000"}
        await nothing_counts(client)
