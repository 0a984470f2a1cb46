"""The panel that a person sees on a terminal when a server serves, and that programs see nothing of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from ..support.gateways import COMMAND, Begin, environment, make_certificate, option
from ..support.notebooks import write_notebook
from ..support.ports import free_port
from ..support.ptys import PtyCommand, on_terminal
from ..support.servers import NOT_NEEDED

TOKEN = "t" * 20
LEAN = [word for component in NOT_NEEDED for word in ("--disable", component)]


def env(base: Path, **names: str) -> dict[str, str]:
    unset = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "LC_ALL", "PYTHONUTF8")
    return {name: one for name, one in environment(base).items() if name not in unset} | names


def panel(terminal: PtyCommand) -> list[str]:
    """The lines between the borders, once all of it is there."""
    deadline = time.monotonic() + 60
    while not re.search(r"ends at once *[│|]\n[^\n]+\n", terminal.text):
        assert time.monotonic() < deadline, terminal.raw
        time.sleep(0.02)
    lines = terminal.text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line[:3] in ("╭─ ", "+- "))
    end = next(number for number, line in enumerate(lines) if number > begin and line[:3] in ("╰──", "+--"))
    return lines[begin : end + 1]


def said(lines: list[str]) -> dict[str, str]:
    """What stands beside each label; lines that were broken are joined."""
    found: dict[str, str] = {}
    label = ""
    for line in lines[1:-1]:
        head, rest = line[2:11].strip(), line[11:-1].strip()
        label = head or label
        found[label] = f"{found.get(label, '')} {rest}".strip()
    return found


@pytest.mark.parametrize("columns", [60, 120])
def test_the_gateway_says_what_it_serves(tmp_path: Path, columns: int) -> None:
    port = str(free_port())
    words = [COMMAND, "--port", port, option("max_kernels", 3), option("auth_token", TOKEN)]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path, columns=columns) as terminal:
        lines = panel(terminal)
        assert {len(line) for line in lines} == {min(columns, 100)}
        shown = said(lines)
        assert shown["URL"] == f"http://127.0.0.1:{port}/"
        assert shown["Serves"] == "kernels over REST and WebSocket"
        assert shown["Who"] == "with the token of the command line"
        assert shown["Kernels"] == "end with the server, at most 3"
        assert shown["Metrics"] == f"http://127.0.0.1:{port}/metrics"
        assert shown["Stop"] == "Ctrl-C asks whether to end; twice ends at once"
        assert TOKEN not in terminal.raw
        assert "\x1b[1m" in terminal.raw
        assert terminal.text.index("Serving at") < terminal.text.index("fps-kernels 0")
        terminal.type("\x03")
        terminal.wait_for("Shut down this server")
        terminal.type("\x03")
        assert terminal.wait_end() == 0


def test_a_notebook_a_certificate_and_a_token_of_a_file(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "server")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    seed = write_notebook(tmp_path / "a.ipynb", "# GET /a\n1")
    words = [COMMAND, "--port=0", "--api=notebook-http", seed, option("auth_token_file", "token")]
    words += [f"--certfile={certificate}", f"--keyfile={key}", "-y"]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path, columns=200) as terminal:
        shown = said(panel(terminal))
        assert shown["URL"].startswith("https://127.0.0.1:")
        assert shown["Serves"].replace(" ", "") == f"thenotebook{tmp_path}/a.ipynbasanHTTPAPI"
        assert shown["Who"] == "with the token in token"
        assert shown["TLS"].replace(" ", "") == f"certificate{certificate}"
        assert shown["Stop"].startswith("Ctrl-C ends it")
        assert TOKEN not in terminal.raw


def test_an_open_server_of_a_socket(tmp_path: Path) -> None:
    with on_terminal([COMMAND, "--sock", "s"], env=env(tmp_path), cwd=tmp_path, columns=120) as terminal:
        shown = said(panel(terminal))
        assert shown["Who"] == "everybody who can reach it: there is no token (auth_token_file)"
        assert shown["Socket"].endswith("/s")


@pytest.mark.parametrize(
    ("names", "ascii_only", "colours"),
    [
        ({}, False, True),
        ({"NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": ""}, True, False),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, True, True),
    ],
)
def test_terminals_that_can_less(tmp_path: Path, names: dict[str, str], ascii_only: bool, colours: bool) -> None:
    words = [COMMAND, "--port=0", "--KernelGatewayApp.log_format=text"]
    with on_terminal(words, env=env(tmp_path, **names), cwd=tmp_path, columns=60) as terminal:
        lines = panel(terminal)
        assert {len(line) for line in lines} == {60}
        assert "".join(lines).isascii() is ascii_only
        begin = terminal.raw.index("fps-kernels 0.")
        drawn = terminal.raw[begin:]
        assert bool(re.search(r"\x1b\[[0-9;]*3[46]", drawn)) is colours


def test_programs_get_the_lines_of_the_log_only(begin: Begin) -> None:
    gateway = begin()
    assert "Serving at" in gateway.log
    gateway.stop()
    assert all(line.startswith(("[I ", "[W ")) for line in gateway.log.splitlines() if line)


def test_who_wants_only_warnings_gets_no_panel(tmp_path: Path) -> None:
    words = [COMMAND, "--port=0", "--log-level=WARN", "-y"]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("This server is open")
        terminal.type("\x03")
        terminal.wait_end()
        assert "╭" not in terminal.text


def test_a_log_for_programs_has_no_panel_beside_it(tmp_path: Path) -> None:
    words = [COMMAND, "lab", "--port=0", "--log-format=json", *LEAN]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("it has the token:")
        terminal.wait_for("token=")
        assert "╭" not in terminal.text


def test_nothing_of_a_name_is_obeyed(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b]0;title\x07[bold]x[link=http:evil]"
    folder.mkdir()
    words = [COMMAND, "lab", "--port=0", "--root-dir", str(folder), *LEAN]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path, columns=300) as terminal:
        terminal.wait_for("twice ends at once")
        assert "\x1b]" not in terminal.raw
        assert "[bold]x" in terminal.text


@pytest.mark.parametrize("columns", [60, 120])
def test_lab_shows_its_url_whole(tmp_path: Path, columns: int) -> None:
    words = [COMMAND, "lab", "--port=0", *LEAN]
    with on_terminal(words, env=env(tmp_path), cwd=tmp_path, columns=columns) as terminal:
        shown = said(panel(terminal))
        assert shown["URL"].endswith("/lab")
        assert shown["Who"] == "with the token that is in the URL below"
        assert shown["Kernels"] == "end with the server, 1 kept ready"
        terminal.wait_for("it has the token:")
        terminal.wait_for("token=")
        assert re.search(r"\n    http://127\.0\.0\.1:\d+/lab\?token=[0-9a-f]{48}\r\n", terminal.raw)
        assert len(re.findall("[0-9a-f]{48}", terminal.text)) == 1
        terminal.type("\x03")
        terminal.wait_for("Shut down this server")
        terminal.type("y\n")
        assert terminal.wait_end() == 0


def test_lab_says_where_its_token_is_from(tmp_path: Path) -> None:
    words = [COMMAND, "lab", "--port=0", *LEAN, "--set", "kernels.keep_kernels=never"]
    with on_terminal(words, env=env(tmp_path, FPS_KERNELS_TOKEN=TOKEN), cwd=tmp_path, columns=120) as terminal:
        assert said(panel(terminal))["Who"] == "with the token of FPS_KERNELS_TOKEN or FPS_KERNELS_TOKEN_FILE"
        assert TOKEN not in terminal.raw
