"""Terminals of `fps-kernels lab`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ..support.gateways import Gateway
from ..support.ports import free_port
from ..support.waits import until

TOKEN = "a-token-of-the-tests"
RIGHT = {"Authorization": f"token {TOKEN}"}


def begin(folder: Path) -> Gateway:
    options = ("--port", str(free_port()), "--token", TOKEN, "--set", "kernels.prewarm=0")
    server = Gateway(folder, "lab", *options, env={"SHELL": "/bin/sh", "PS1": "$ "})
    server.wait_ready()
    return server


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("terminals")
    (folder / "sub").mkdir()
    server = begin(folder)
    yield server
    server.stop()


def ask(server: Gateway, method: str, path: str = "", body: Any = None) -> httpx.Response:
    url = f"{server.url}/api/terminals{path}"
    content = None if body is None else json.dumps(body)
    return httpx.request(method, url, content=content, headers=RIGHT, timeout=60, trust_env=False)


@pytest.fixture
def terminal(lab: Gateway) -> Iterator[str]:
    """The name of a new terminal."""
    name = ask(lab, "POST").json()["name"]
    yield name
    ask(lab, "DELETE", f"/{name}")


class Page:
    """A page that shows a terminal. shown: what it has been sent."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.shown = ""
        assert self.receive() == ["setup", {}]

    def receive(self) -> Any:
        message = json.loads(self.websocket.recv(timeout=60))
        if message[0] == "stdout":
            self.shown += message[1]
        return message

    def send(self, *message: Any) -> None:
        self.websocket.send(json.dumps(message))

    def until_shown(self, text: str) -> str:
        while text not in self.shown:
            self.receive()
        return self.shown


@contextlib.contextmanager
def page(lab: Gateway, name: str) -> Iterator[Page]:
    url = f"ws{lab.url[4:]}/terminals/websocket/{name}"
    with connect(url, additional_headers=RIGHT, proxy=None, max_size=None, ping_interval=None) as websocket:
        yield Page(websocket)


def test_a_page_that_comes_again_is_shown_what_was_there(lab: Gateway, terminal: str) -> None:
    with page(lab, terminal) as first:
        first.send("stdin", "echo $((6 * 7))ä\r")
        shown = first.until_shown("42ä")
    with page(lab, terminal) as again:
        assert again.until_shown("42ä").startswith(shown[:20])
        with page(lab, terminal) as other:
            other.send("stdin", "echo $((6 * 8))\r")
            again.until_shown("48")
            other.until_shown("48")


def test_what_comes_again_is_bounded(lab: Gateway, terminal: str) -> None:
    with page(lab, terminal) as first:
        first.send("stdin", "seq 1 400000; echo en''d\r")
        assert "\n399999\r\n400000\r\nend" in first.until_shown("\nend")
        assert len(first.shown) > 2_500_000
    with page(lab, terminal) as again:
        assert "\n400000\r\nend" in again.until_shown("\nend")
        assert len(again.shown) < 1_200_000


def test_a_program_waits_for_a_page_that_reads_slowly(lab: Gateway, terminal: str) -> None:
    """Nothing is lost, and the server keeps little of it."""
    with page(lab, terminal) as slow:
        server = psutil.Process(lab.process.pid)
        slow.send("stdin", "stty -echo; seq 1 3000000; echo en''d\r")
        slow.until_shown("\n1000\r")
        begun = server.memory_info().rss
        # What is not received waits in the sockets and in the server, until `seq` has to wait.
        [shell] = [one for one in server.children(recursive=True) if one.terminal() and one.name() == "sh"]
        times: list[list[float]] = []

        def stands_still() -> bool:
            times.append([one.cpu_times().user + one.cpu_times().system for one in shell.children()])
            return len(times) > 3 and times[-1] == times[-4]

        asyncio.run(until(stands_still, every_s=0.3))
        assert len(times[-1]) == 1  # it has not ended
        assert server.memory_info().rss - begun < 12_000_000
        texts = [slow.shown]
        while "end" not in texts[-1]:
            texts.append(json.loads(slow.websocket.recv(timeout=60))[1])
        shown = "".join(texts)
        first = shown.index("1\r\n2\r\n")  # on the line of the prompt, if the shell was slower than the echo
        numbers = [int(line) for line in shown[first : shown.index("\nend")].split()]
        assert numbers == [*range(1, 3_000_001)]


def test_a_program_that_does_not_read_holds_up_nothing_else(lab: Gateway, terminal: str) -> None:
    other = ask(lab, "POST").json()["name"]
    with page(lab, terminal) as stuck, page(lab, other) as free:
        stuck.send("stdin", "stty raw -echo; echo rea''dy; exec sleep 1000\r")
        stuck.until_shown("ready")
        stuck.send("stdin", "x" * 500_000)
        free.send("stdin", "echo $((6 * 7))\r")
        free.until_shown("42")
    assert ask(lab, "DELETE", f"/{other}").status_code == 204


def test_the_end_of_a_shell_is_said(lab: Gateway) -> None:
    name = ask(lab, "POST").json()["name"]
    with page(lab, name) as shown:
        shown.send("stdin", "exit\r")
        while shown.receive() != ["disconnect", 1]:
            continue
        with pytest.raises(ConnectionClosed):
            shown.receive()
    assert name not in [one["name"] for one in ask(lab, "GET").json()]
    with pytest.raises(InvalidStatus, match="404"), page(lab, name):
        raise AssertionError


def test_a_terminal_begins_where_it_is_asked_for(lab: Gateway) -> None:
    for body, where in (({"cwd": "sub"}, "/sub"), ({"cwd": "none"}, ""), ({"cwd": str(lab.base / "sub")}, "/sub")):
        name = ask(lab, "POST", "", body).json()["name"]
        with page(lab, name) as shown:
            shown.send("stdin", 'echo "[$PWD]" $TERM "$JUPYTER_SERVER_ROOT]"\r')
            shown.until_shown(f"[{lab.base}{where}] xterm-256color {lab.base}]")
        ask(lab, "DELETE", f"/{name}")


def test_a_terminal_that_two_pages_open_by_name_is_one(lab: Gateway) -> None:
    first, second = (ask(lab, "POST", "", {"name": "mine"}).json()["name"] for _ in range(2))
    assert first == second == "mine"
    assert [one["name"] for one in ask(lab, "GET").json()].count("mine") == 1
    assert ask(lab, "DELETE", "/mine").status_code == 204
    wrong: Any
    for wrong in ({"name": "a/b"}, {"name": 5}, {"cwd": 5}, {"cwd": "a\0"}, [], "x"):
        assert ask(lab, "POST", "", wrong).status_code == 400


def test_pages_fit_into_the_smallest(lab: Gateway, terminal: str) -> None:
    with page(lab, terminal) as large, page(lab, terminal) as small:
        large.send("set_size", 50, 150, 1, 1)
        small.send("set_size", 20, 70, 1, 1)
        small.send("set_size", "a", None)
        small.send("set_size")
        small.send("unknown", 1)
        small.send("stdin", "stty size\r")
        large.until_shown("20 70")


@pytest.mark.parametrize("wrong", ["{", b"[]", "[" * 100_000])
def test_what_is_no_message_ends_the_connection_only(lab: Gateway, terminal: str, wrong: Any) -> None:
    with page(lab, terminal) as shown:
        shown.websocket.send(wrong)
        with contextlib.suppress(ConnectionClosed):
            for _ in shown.websocket:
                continue
        assert shown.websocket.close_code == 1007
    assert ask(lab, "GET", f"/{terminal}").status_code == 200


def test_the_programs_of_terminals_end_with_them_and_with_the_server(tmp_path: Path) -> None:
    server = begin(tmp_path)
    processes = []
    for _ in range(2):
        name = ask(server, "POST").json()["name"]
        with page(server, name) as shown:
            shown.send("stdin", "trap '' HUP INT TERM; echo pid''=$$.\r")
            pid = shown.until_shown("pid=").rpartition("pid=")[2]
            while "." not in pid:
                shown.receive()
                pid = shown.shown.rpartition("pid=")[2]
            processes.append(psutil.Process(int(pid.partition(".")[0])))
    assert ask(server, "DELETE", "/1").status_code == 204
    assert not processes[0].is_running()
    assert processes[1].is_running()
    assert server.stop() == 0
    assert not processes[1].is_running()
