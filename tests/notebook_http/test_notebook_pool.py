"""The kernels of a notebook that is an HTTP API: how requests share them, and how they are lost and come back."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ..support.apis import DIE, FOREVER, GATE, PID, RECORD, Serve, apis, kill
from ..support.client import Client
from ..support.gateways import Gateway
from ..support.waits import until

DEAF = """# GET /deaf
before = signal.signal(signal.SIGINT, signal.SIG_IGN)
pathlib.Path(args("started")).touch()
until(args("gate"))
pathlib.Path(args("started") + ".ended").touch()
signal.signal(signal.SIGINT, before)
"""
"""Runs until the file `gate` is there, and takes no interrupt."""
PRINT_X = "# GET /x\nstream(str(x))"


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with four kernels, for tests that lose none."""
    with apis(tmp_path_factory.mktemp("four")) as serve:
        echo = '# POST /echo/:token\nstream(f\'{json.loads(REQUEST)["path"]["token"]} {os.getpid()}\')'
        yield serve(PID, GATE, echo, prespawn_count=4)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with one kernel, for which three may wait, for tests that do not lose it."""
    with apis(tmp_path_factory.mktemp("one")) as serve:
        yield serve(PID, GATE, FOREVER, RECORD, "# POST /echo\nstream('no')", queue_limit=3)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with one kernel, for tests that do not lose it, and a deadline."""
    with apis(tmp_path_factory.mktemp("impatient")) as serve:
        yield serve(PID, FOREVER, DEAF, RECORD, request_timeout_s=1)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with two kernels that may be killed."""
    with apis(tmp_path_factory.mktemp("mortal")) as serve:
        yield serve("x = 42", PRINT_X, PID, FOREVER, DIE, prespawn_count=2, request_timeout_s=0)


async def pids(client: Client, count: int) -> list[int]:
    """What that many requests, one after the other, say of the kernels that answered them."""
    return [int((await client.http.get("/pid")).text) for _ in range(count)]


async def begin(client: Client, path: str, started: Path, **params: str) -> asyncio.Task[httpx.Response]:
    """Send a request; returns when its cell runs."""
    task = asyncio.create_task(client.http.get(path, params={"started": str(started), **params}))
    await until(lambda: started.exists() or task.done())
    assert not task.done(), task.result().text
    return task


async def whole_pool(client: Client, size: int, without: int | None = None) -> list[int]:
    """The kernels in their turn, once so many answer; none is `without`."""
    async with asyncio.timeout(60):
        while True:
            found = await pids(client, 2 * size)
            assert without not in found
            if found[:size] == found[size:] and len(set(found)) == size:
                return found[:size]


class HangUp:
    """A client that sends a request and hangs up at some time."""

    def __init__(self, gateway: Gateway) -> None:
        self._netloc = urlsplit(gateway.url).netloc

    async def send(self, head: str) -> None:
        host, port = self._netloc.split(":")
        self.reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(f"{head}\r\nHost: {self._netloc}\r\n\r\n".encode())
        await self._writer.drain()

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


# --- who answers ---------------------------------------------------------------------------------


async def test_requests_go_round_the_pool(four: Gateway) -> None:
    async with Client(four.url) as client:
        found = await pids(client, 12)
    assert len(set(found[:4])) == 4
    assert found == found[:4] * 3


async def test_requests_at_once_are_spread(four: Gateway, tmp_path: Path) -> None:
    async with Client(four.url) as client:
        gate = tmp_path / "gate"
        tasks = [await begin(client, "/gate", tmp_path / str(number), gate=str(gate)) for number in range(4)]
        gate.touch()
        assert len({(await task).text for task in tasks}) == 4


async def test_a_thousand_requests_of_fifty_clients_on_four_kernels(four: Gateway) -> None:
    tokens = itertools.count()
    used: Counter[str] = Counter()

    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(20):
            token = f"token-{next(tokens)}"
            response = await client.post(f"/echo/{token}", content=token)
            assert response.status_code == 200
            answered, pid = response.text.split()
            assert answered == token
            used[pid] += 1

    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=four.url, timeout=60, trust_env=False, limits=limits) as client:
        await asyncio.gather(*(ask(client) for _ in range(50)))
    assert sum(used.values()) == 1_000
    assert len(used) == 4


# --- the queue -----------------------------------------------------------------------------------


async def test_what_waits_is_answered_in_its_order_and_no_more_than_the_limit_waits(
    one: Gateway, tmp_path: Path
) -> None:
    gate, file = tmp_path / "gate", tmp_path / "file"
    async with Client(one.url) as client:
        first = await begin(client, "/gate", tmp_path / "started", gate=str(gate))
        waiting = []
        for text in "abc":
            # The next one is sent when this one waits; a connection of its own arrives in its own time.
            waiting.append(await queued(one, f"/record?file={file}&text={text}"))
        refused = await client.http.get("/record", params={"file": str(file), "text": "d"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["reason"] == "Service Unavailable"
        gate.touch()
        assert (await first).status_code == 200
        for record in waiting:
            assert b"written" in await record.reader.readuntil(b"written")
            await record.hang_up()
        assert file.read_text() == "abc"


async def queued(gateway: Gateway, target: str) -> HangUp:
    """A client whose request waits for a kernel: a later request on another connection has been answered."""
    client = HangUp(gateway)
    await client.send(f"GET {target} HTTP/1.1")
    for _ in range(3):
        async with httpx.AsyncClient(trust_env=False) as other:
            await other.get(f"{gateway.url}/healthz")
    return client


async def test_without_a_queue_only_as_many_as_there_are_kernels(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(GATE, PID, queue_limit=0)
    async with Client(gateway.url) as client:
        gate = tmp_path / "gate"
        first = await begin(client, "/gate", tmp_path / "started", gate=str(gate))
        assert (await client.http.get("/pid")).status_code == 503
        gate.touch()
        assert (await first).status_code == 200
        assert (await client.http.get("/pid")).status_code == 200


async def test_the_bodies_of_what_waits_are_bounded_together(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(GATE, "# POST /echo\nstream('no')", hasty=True)
    async with Client(gateway.url) as client:
        gate, half = tmp_path / "gate", b"x" * 600_000
        first = await begin(client, "/gate", tmp_path / "started", gate=str(gate))
        second = asyncio.create_task(client.http.post("/echo", content=half))
        while (await client.http.get("/_books")).json()["pool"]["waiting"] != 1:
            pass
        refused = await client.http.post("/echo", content=half)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        gate.touch()
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert (await client.http.post("/echo", content=half)).status_code == 200


async def test_all_else_is_answered_while_all_kernels_are_busy(one: Gateway, tmp_path: Path) -> None:
    async with Client(one.url) as client:
        gate = tmp_path / "gate"
        first = await begin(client, "/gate", tmp_path / "started", gate=str(gate))
        wrong = await client.http.post("/pid")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert (await client.http.get("/nowhere")).status_code == 404
        assert (await client.http.options("/pid")).status_code == 200
        assert (await client.http.get("/_api/spec/swagger.json")).status_code == 200
        gate.touch()
        assert (await first).status_code == 200


# --- deadlines -----------------------------------------------------------------------------------


async def test_a_cell_that_takes_too_long_is_interrupted_and_its_kernel_goes_on(
    impatient: Gateway, tmp_path: Path
) -> None:
    async with Client(impatient.url) as client:
        [before] = await pids(client, 1)
        late = await (await begin(client, "/forever", tmp_path / "started"))
        assert (late.status_code, late.json()["message"]) == (504, "No answer within 1 s")
        await until((tmp_path / "started.interrupted").exists)
        assert await pids(client, 1) == [before]


async def test_a_cell_that_cannot_be_interrupted_costs_its_kernel(serve: Serve, tmp_path: Path) -> None:
    stubborn = "# GET /stubborn\nforever(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))"
    gateway = serve("x = 42", stubborn, PID, PRINT_X, hasty=True, request_timeout_s=5, shutdown_wait_time=0.1)
    async with Client(gateway.url) as client:
        [before] = await pids(client, 1)
        stuck = HangUp(gateway)
        await stuck.send(f"GET /stubborn?started={tmp_path / 'started'} HTTP/1.1")
        await until((tmp_path / "started").exists)
        await stuck.hang_up()
        assert await pids(client, 1) != [before]
        assert (await client.http.get("/x")).text == "42"
        assert len(gateway.kernel_processes()) == 1


async def test_what_has_waited_too_long_never_runs(impatient: Gateway, tmp_path: Path) -> None:
    gate, file = tmp_path / "gate", tmp_path / "file"
    async with Client(impatient.url) as client:
        first = await begin(client, "/deaf", tmp_path / "started", gate=str(gate))
        late = await client.http.get("/record", params={"file": str(file), "text": "late"})
        assert (late.status_code, (await first).status_code) == (504, 504)
        gate.touch()
        await until((tmp_path / "started.ended").exists)
        assert (await accepted(client, f"/record?file={file}&text=new")).status_code == 200
        assert file.read_text() == "new"


async def accepted(client: Client, path: str) -> httpx.Response:
    """The answer to a request that is sent until it is in time."""
    while (response := await client.http.get(path)).status_code == 504:
        pass
    return response


# --- clients that hang up ------------------------------------------------------------------------


async def test_the_cell_of_a_client_that_hangs_up_is_interrupted(one: Gateway, tmp_path: Path) -> None:
    async with Client(one.url) as client:
        [before] = await pids(client, 1)
        gone = HangUp(one)
        await gone.send(f"GET /forever?started={tmp_path / 'started'} HTTP/1.1")
        await until((tmp_path / "started").exists)
        await gone.hang_up()
        await until((tmp_path / "started.interrupted").exists)
        assert await pids(client, 1) == [before]


async def test_a_client_that_hangs_up_while_it_waits_is_forgotten(one: Gateway, tmp_path: Path) -> None:
    gate, file = tmp_path / "gate", tmp_path / "file"
    async with Client(one.url) as client:
        first = await begin(client, "/gate", tmp_path / "started", gate=str(gate))
        gone = await queued(one, f"/record?file={file}&text=gone")
        await gone.hang_up()
        await asyncio.to_thread(one.wait_log, "GET /record: the client has gone")
        kept = await queued(one, f"/record?file={file}&text=kept")
        gate.touch()
        assert (await first).status_code == 200
        assert b"written" in await kept.reader.readuntil(b"written")
        await kept.hang_up()
        assert file.read_text() == "kept"


async def test_a_client_that_hangs_up_while_it_sends_disturbs_nobody(one: Gateway) -> None:
    async with Client(one.url) as client:
        gone = HangUp(one)
        await gone.send("POST /echo HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue")
        assert await gone.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        await gone.hang_up()
        await asyncio.to_thread(one.wait_log, "POST /echo: the client has gone")
        assert len(await pids(client, 2)) == 2


# --- kernels that die ----------------------------------------------------------------------------


async def test_a_kernel_that_dies_fails_its_request_and_comes_back_seeded(mortal: Gateway) -> None:
    async with Client(mortal.url) as client:
        before = await whole_pool(client, 2)
        died = await client.http.get("/die")
        assert died.status_code == 502
        assert "7" in died.json()["message"]
        await whole_pool(client, 2, without=before[0])
        for _ in range(2):
            assert (await client.http.get("/x")).text == "42"


async def test_a_kernel_that_is_killed_answers_at_once(mortal: Gateway, tmp_path: Path) -> None:
    async with Client(mortal.url) as client:
        first, second = await whole_pool(client, 2)
        running = await begin(client, "/forever", tmp_path / "started")
        kill(first)
        assert (await running).status_code == 502
        assert second in await whole_pool(client, 2, without=first)


async def test_an_idle_kernel_that_dies_is_not_handed_out(mortal: Gateway) -> None:
    async with Client(mortal.url) as client:
        first, second = await whole_pool(client, 2)
        deaths = mortal.log.count("The kernel died")
        kill(first)
        await until(lambda: mortal.log.count("The kernel died") > deaths)
        for _ in range(4):
            assert (await client.http.get("/x")).text == "42"
        assert second in await whole_pool(client, 2, without=first)


async def test_a_kernel_that_is_not_restarted_is_replaced(serve: Serve) -> None:
    gateway = serve("x = 42", DIE, PRINT_X, PID, autorestart=False)
    async with Client(gateway.url) as client:
        for _ in range(2):
            assert (await client.http.get("/die")).status_code == 502
            assert (await client.http.get("/x")).text == "42"
        assert len(gateway.kernel_processes()) == 1


async def test_a_seed_that_fails_for_a_while_does_not_cost_a_kernel(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    seed = f"assert not os.path.exists({str(broken)!r})\nx = 42"
    gateway = serve(seed, DIE, PRINT_X, hasty=True, autorestart=False)
    async with Client(gateway.url) as client:
        broken.touch()
        assert (await client.http.get("/die")).status_code == 502
        await asyncio.to_thread(gateway.wait_log, "a kernel of the pool does not start")
        waiting = asyncio.create_task(client.http.get("/x"))
        broken.unlink()
        assert (await waiting).text == "42"


async def test_a_seed_that_fails_at_a_restart_is_tried_again(serve: Serve, tmp_path: Path) -> None:
    once = tmp_path / "once"
    seed = f"if os.path.exists({str(once)!r}):\n    os.unlink({str(once)!r})\n    1 / 0\nx = 42"
    gateway = serve(seed, DIE, PRINT_X)
    async with Client(gateway.url) as client:
        once.touch()
        assert (await client.http.get("/die")).status_code == 502
        assert (await client.http.get("/x")).text == "42"
        assert "ZeroDivisionError" in gateway.log


async def test_a_seed_whose_reply_comes_after_idle_has_run(serve: Serve) -> None:
    """They come on two channels, in any order."""
    gateway = serve("publish('status', {'execution_state': 'idle'})\ntime.sleep(0.3)\nx = 42", PRINT_X)
    async with Client(gateway.url) as client:
        assert (await client.http.get("/x")).text == "42"


async def test_a_kernel_that_died_before_the_pool_was_whole_is_replaced(serve: Serve, tmp_path: Path) -> None:
    first = tmp_path / "first"
    seed = "\n".join(
        [
            "try:",
            f"    os.close(os.open({str(first)!r}, os.O_CREAT | os.O_EXCL))",
            "    threading.Timer(0.2, os._exit, [3]).start()",
            "except FileExistsError:",
            "    time.sleep(1)",
        ]
    )
    gateway = serve(seed, PID, prespawn_count=2, autorestart=False)
    async with Client(gateway.url) as client:
        for _ in range(4):
            assert (await client.http.get("/pid")).status_code == 200
        await until(lambda: len(gateway.kernel_processes()) == 2)


async def test_a_kernel_that_dies_after_its_reply_has_answered(serve: Serve) -> None:
    """That it is idle will never be heard."""
    reply = "raw('shell', kernel.pack('execute_reply', {'status': 'ok'}, request['header']))"
    gateway = serve(f"# GET /last\nstream('last words')\n{reply}\ntime.sleep(0.2)\nos._exit(0)", PID, hasty=True)
    async with Client(gateway.url) as client:
        assert (await client.http.get("/last")).text == "last words"
        assert (await client.http.get("/pid")).status_code == 200


async def test_many_deaths_at_once(serve: Serve) -> None:
    gateway = serve("x = 42", DIE, PRINT_X, prespawn_count=3)
    async with Client(gateway.url) as client:
        paths = ["/die", "/x", "/x"] * 5
        answers = await asyncio.gather(*map(client.http.get, paths))
        assert [answer.status_code for answer in answers] == [502 if path == "/die" else 200 for path in paths]
        await until(lambda: len(gateway.kernel_processes()) == 3)


# --- bookkeeping ---------------------------------------------------------------------------------


async def quiet_books(client: Client, idle: int) -> dict[str, Any]:
    """What the gateway keeps when nothing is under way any more."""
    async with asyncio.timeout(60):
        while True:
            books = (await client.http.get("/_books")).json()
            if books["pool"] == {"idle": idle, "running": 0, "lost": 0, "waiting": 0}:
                return books


async def test_nothing_is_kept_of_requests_however_they_ended(serve: Serve, tmp_path: Path) -> None:
    fail = "# GET /fail\n1 / 0"
    gateway = serve(PID, fail, FOREVER, DIE, hasty=True, prespawn_count=2)
    async with Client(gateway.url) as client:
        await pids(client, 2)
        before = await quiet_books(client, 2)
        for number in range(3):
            await asyncio.gather(*(client.http.get(path) for path in ["/pid", "/fail", "/nowhere"] * 10))
            gone = HangUp(gateway)
            await gone.send(f"GET /forever?started={tmp_path / str(number)} HTTP/1.1")
            await until((tmp_path / str(number)).exists)
            await gone.hang_up()
            assert (await client.http.get("/die")).status_code == 502
        after = await quiet_books(client, 2)
        # The tasks of connections come and go.
        assert after.pop("tasks") < before.pop("tasks") + 50
        assert after == before
        assert (after["runs"], after["pending"]) == (0, [0, 0])


async def test_deadlines_that_race_with_kernels_lose_none(serve: Serve) -> None:
    """A request whose time is over at the very moment at which it gets a kernel gives it back."""
    gateway = serve("# GET /nap\ntime.sleep(0.01)\nstream('done')", hasty=True, prespawn_count=2, request_timeout_s=0.1)
    async with Client(gateway.url) as client:
        before = await quiet_books(client, 2)
        for _ in range(5):
            answers = await asyncio.gather(*(client.http.get("/nap") for _ in range(60)))
            assert {answer.status_code for answer in answers} <= {200, 504}
        books = await quiet_books(client, 2)
        assert (books["listeners"], books["observers"]) == (before["listeners"], before["observers"])
