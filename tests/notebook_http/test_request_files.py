"""Long requests reach their kernel as data, in files that do not stay; kernels elsewhere get them in pieces."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from fps_kernels.notebook_http.bounds import Bounds
from fps_kernels.notebook_http.request.body_reader import Body, BodyReader
from fps_kernels.notebook_http.request.request_files import LOCK, PREFIX, RequestFiles
from fps_kernels.notebook_http.request.request_limits import RequestLimits
from fps_kernels.notebook_http.request.request_text import SHORT_CHARS, Converter

from ..support.apis import GATE, Serve
from ..support.client import Client
from ..support.gateways import Gateway
from ..support.notebooks import code_cell
from ..support.waits import until

ECHO = "# POST /echo\nstream(json.dumps(json.loads(REQUEST)['body']))"
WATCH = """
import builtins
opened = []
def open(path, *args, **kwargs):
    if str(path).endswith(".json"):
        status = os.stat(path)
        folder = os.stat(os.path.dirname(path))
        opened.append([path, status.st_mode & 0o777, folder.st_mode & 0o777, status.st_size])
    return builtins.open(path, *args, **kwargs)
"""
OPENED = "# GET /opened\nstream(json.dumps(opened))"
ELSEWHERE = """
def open(path, *args, **kwargs):
    raise FileNotFoundError(path)
"""
"""The kernel does not see the files of the server's machine."""
BODIES: list[tuple[str, bytes, Any]] = [
    ("application/json", json.dumps(["é\\n'\"$(x)", {"a": 1}] * 9_000).encode(), ["é\\n'\"$(x)", {"a": 1}] * 9_000),
    ("text/plain", "é'\"\\\n\x00\x7f😀".encode() * 9_000, "é'\"\\\n\x00\x7f😀" * 9_000),
    ("application/x-www-form-urlencoded", b"a=" + b"%C3%A9+%22" * 9_000, {"a": ['é "' * 9_000]}),
    ("application/octet-stream", b"\xff\x00" * 30_000, base64.b64encode(b"\xff\x00" * 30_000).decode()),
    ("text/plain", b"x" * SHORT_CHARS, "x" * SHORT_CHARS),
    ("text/plain", b"\x01" * 10_000, "\x01" * 10_000),
]


def files_in(runtime: Path) -> list[Path]:
    """The files of requests that are in a runtime folder."""
    return sorted(path for path in runtime.glob(f"{PREFIX}*/*") if path.name != LOCK)


def files(gateway: Gateway) -> list[Path]:
    return files_in(gateway.runtime)


async def echo_all(gateway: Gateway) -> None:
    async with Client(gateway.url) as client:
        for content_type, body, value in BODIES:
            response = await client.http.post("/echo", content=body, headers={"Content-Type": content_type})
            assert response.json() == value
            assert files(gateway) == []


async def test_a_kernel_reads_long_requests_from_files_that_only_its_user_can_read(serve: Serve) -> None:
    gateway = serve(WATCH, ECHO, OPENED)
    await echo_all(gateway)
    async with Client(gateway.url) as client:
        await client.http.post("/echo", content=b"short")
        opened = (await client.http.get("/opened")).json()
    assert len(opened) == len(BODIES)
    for path, mode, folder_mode, size in opened:
        assert (mode, folder_mode) == (0o600, 0o700)
        assert path.startswith(str(gateway.runtime))
        assert size > SHORT_CHARS


async def test_a_kernel_elsewhere_gets_long_requests_in_pieces(serve: Serve) -> None:
    gateway = serve(ELSEWHERE, ECHO)
    await echo_all(gateway)
    assert gateway.log.count("gets long requests in pieces: REQUEST cannot be assigned: FileNotFoundError") == 1


async def test_ipykernel_reads_long_requests(serve: Serve) -> None:
    gateway = serve("def stream(text): print(text, end='')", ECHO, kernel="python3")
    await echo_all(gateway)
    assert "in pieces" not in gateway.log


NESTED = b"[" * 90 + b"]" * 90
LARGE = 10 * 1024 * 1024 - 1000
LARGE_BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nested arrays": ("application/json", lambda: b"[" + b",".join([NESTED] * (LARGE // (len(NESTED) + 1))) + b"]"),
    "quotes in JSON": ("application/json", lambda: b'["' + b'\\"' * (LARGE // 2) + b'"]'),
    "quotes": ("text/plain", lambda: b'"' * LARGE),
    "quotes, backslashes and lines": ("text/plain", lambda: b"'\\\n" * (LARGE // 3)),
}


@pytest.mark.parametrize("what", LARGE_BODIES)
async def test_ten_mib_stall_neither_the_server_nor_ipykernel(serve: Serve, what: str) -> None:
    content_type, body = LARGE_BODIES[what][0], LARGE_BODIES[what][1]()
    gateway = serve("# POST /length\nprint(len(REQUEST), end='')", kernel="python3")
    pauses: list[float] = []
    async with Client(gateway.url) as client, Client(gateway.url) as other, asyncio.timeout(60):
        loop, headers = asyncio.get_running_loop(), {"Content-Type": content_type}
        posting = asyncio.create_task(client.http.post("/length", content=body, headers=headers))
        begin = loop.time()
        while not posting.done():
            asked = loop.time()
            assert (await other.http.get("/healthz")).status_code == 200
            pauses.append(loop.time() - asked)
        took_s = loop.time() - begin
        assert int((await posting).text) >= len(body)
    # Both are far above what it takes, and far below what it took: the server was not to be reached for as long as it
    # wrote a literal, and the kernel parsed that for 40 s.
    assert max(pauses) < 3
    assert took_s < 20


async def test_a_streamed_cell_has_a_long_request(serve: Serve) -> None:
    gateway = serve(code_cell(ECHO, stream=True))
    await echo_all(gateway)


async def test_a_file_is_gone_when_its_cell_runs(serve: Serve) -> None:
    gateway = serve(WATCH, "# POST /there\nstream(str(os.path.exists(opened[-1][0])))")
    async with Client(gateway.url) as client:
        assert (await client.http.post("/there", content=b"x" * 100_000)).text == "False"


async def waiting(client: Client, gateway: Gateway, tmp_path: Path) -> list[asyncio.Task[httpx.Response]]:
    """A request whose cell runs until the file `gate` is there, and one with a file that waits for it."""
    started, gate = tmp_path / "started", tmp_path / "gate"
    params = {"started": str(started), "gate": str(gate)}
    tasks = [asyncio.create_task(client.http.get("/gate", params=params))]
    await until(started.exists)
    tasks.append(asyncio.create_task(client.http.post("/echo", content=b"x" * 100_000)))
    await until(lambda: files(gateway))
    return tasks


async def test_the_file_of_a_request_that_waits_is_removed_when_its_client_hangs_up(
    serve: Serve, tmp_path: Path
) -> None:
    gateway = serve(GATE, ECHO)
    async with Client(gateway.url) as client:
        first, second = await waiting(client, gateway, tmp_path)
        [path] = files(gateway)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        second.cancel()
        await until(lambda: not files(gateway))
        (tmp_path / "gate").touch()
        await first
        assert (await client.http.post("/echo", content=b"x" * 100_000)).status_code == 200


async def test_no_file_outlives_its_server(serve: Serve) -> None:
    gateway = serve(ECHO)
    assert len(list(gateway.runtime.glob(f"{PREFIX}*"))) == 1
    gateway.stop()
    assert list(gateway.runtime.glob(f"{PREFIX}*")) == []


async def test_what_a_killed_server_has_left_is_removed_at_the_next_start(serve: Serve, tmp_path: Path) -> None:
    killed = serve(GATE, ECHO, hasty=True)
    async with Client(killed.url) as client:
        tasks = await waiting(client, killed, tmp_path)
        killed.stop(signal.SIGKILL)
        await asyncio.gather(*tasks, return_exceptions=True)
    left = files(killed)
    assert len(left) == 1
    (tmp_path / "gate").touch()
    await until(lambda: not killed.kernel_processes())  # its watchman ends them
    other = serve(ECHO, env={"JUPYTER_RUNTIME_DIR": str(killed.runtime)})
    assert not left[0].parent.exists()
    assert len(list(killed.runtime.glob(f"{PREFIX}*"))) == 1
    async with Client(other.url) as client:
        assert (await client.http.post("/echo", content=b"x" * 100_000)).status_code == 200


async def test_a_conversion_that_is_cancelled_leaves_no_file(tmp_path: Path) -> None:
    opened = RequestFiles(tmp_path)
    opened.open()
    converter = Converter(opened, RequestLimits())
    scope = {"headers": [(b"content-type", b"application/json")], "query_string": b""}
    body = Body(BodyReader(10**8, Bounds()))
    body.data += b"[" + b"[]," * 3_000_000 + b"[]]"
    first = asyncio.create_task(converter.long(scope, {}, body))
    second = asyncio.create_task(converter.long(scope, {}, body))  # waits for its turn
    await until(lambda: files_in(tmp_path))
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert files_in(tmp_path) == []
    third = Body(BodyReader(10**8, Bounds()))
    third.data += b"[" * 60 + b"]" * 60 + b" " * 20_000
    text = await converter.long(scope, {}, third)
    assert json.loads("".join(text.read(1_000)))["body"] == json.loads("[" * 60 + "]" * 60)
    assert third.data == b""
    text.release()
    text.release()
    assert files_in(tmp_path) == []
    opened.close()


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    first, second = RequestFiles(tmp_path), RequestFiles(tmp_path)
    first.open()
    path = first.write(["a", "", "b"])
    second.open()
    assert path.read_text() == "ab"
    first.close()
    assert not path.parent.exists()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_ours_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kernel-1.json").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(outside)
    (tmp_path / f"{PREFIX}new").mkdir()  # another server is about to lock it
    old = tmp_path / f"{PREFIX}old"
    old.mkdir()
    os.utime(old, (0, 0))
    opened = RequestFiles(tmp_path)
    opened.open()
    opened.close()
    left = {"kernel-1.json", "outside", f"{PREFIX}link", f"{PREFIX}new"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert (outside / LOCK).exists()


def test_a_file_that_cannot_be_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    opened = RequestFiles(tmp_path)
    opened.open()
    with pytest.raises(UnicodeEncodeError):
        opened.write(["a" * 100_000, "é"])
    assert [path.name for path in tmp_path.glob("*/*")] == [LOCK]
    opened.close()


@pytest.mark.parametrize("gone", ["runtime", "folder"])
def test_a_folder_that_somebody_has_removed_is_made_again_once(tmp_path: Path, gone: str) -> None:
    runtime = tmp_path / "runtime"
    opened = RequestFiles(runtime)
    opened.open()
    if gone == "runtime":
        shutil.rmtree(runtime)
    else:
        [folder] = runtime.iterdir()
        shutil.rmtree(folder)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: opened.write([str(number)]), range(8)))
    assert [path.read_text() for path in paths] == [str(number) for number in range(8)]
    [folder] = runtime.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    another = RequestFiles(runtime)
    another.open()
    assert folder.exists()  # it is locked
    opened.close()
    another.close()
    assert list(runtime.iterdir()) == []
