"""How `fps-kernels run` ends early: by Ctrl-C, signals, and killed; what is saved, and that no kernel is left."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ..support.notebooks import code_cell
from ..support.outputs import stream
from ..support.ptys import on_terminal
from ..support.runs import Runs

LONG = "import time; stream('began'); time.sleep(600)"


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def until(condition: Callable[[], Any], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kernels_of(runs: Runs) -> list[psutil.Process]:
    runtime = str(runs.base / "runtime")
    found = []
    for process in psutil.process_iter():
        try:
            if any(word.startswith(runtime) for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def saved_text(runs: Runs, path: str = "a.executed.ipynb") -> str:
    try:
        return runs.text(path)
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_saves_and_ends_the_kernel(runs: Runs, signum: int, code: int) -> None:
    runs.write("stream('a')", LONG, "stream('never')")
    with runs.begin("a.ipynb") as process:
        until(lambda: "began" in saved_text(runs))  # what has come is saved while the cell runs
        process.send_signal(signum)
        assert process.wait(60) == code
    assert runs.text() == "abegan"
    assert runs.outputs()[1][-1]["ename"] == "KeyboardInterrupt"
    assert kernels_of(runs) == []
    assert list((runs.base / "runtime").glob("kernel-*")) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_kernel_starts(runs: Runs, signum: int) -> None:
    path = runs.write(code_cell("1", outputs=[stream("precious")]), kernel="tiny_silent")
    before = path.read_bytes()
    with runs.begin("a.ipynb", "--inplace") as process:
        until(lambda: kernels_of(runs))
        process.send_signal(signum)
        assert process.wait(60) == 128 + signum
    assert path.read_bytes() == before
    assert kernels_of(runs) == []


def test_a_second_signal_ends_it_at_once(runs: Runs) -> None:
    runs.write(LONG, kernel="tiny_ignores_sigterm")
    with runs.begin("a.ipynb") as process:
        until(lambda: "began" in saved_text(runs))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (130, 143)
        until(lambda: not kernels_of(runs))
    runs.read()


def test_a_killed_command_leaves_a_notebook_and_no_kernel(runs: Runs) -> None:
    runs.write("stream('a')", LONG)
    with runs.begin("a.ipynb") as process:
        until(lambda: "began" in saved_text(runs))
        process.kill()
        process.wait(60)
        until(lambda: not kernels_of(runs))
    assert runs.text() == "abegan"
    runs.read()


def test_the_file_is_a_whole_notebook_at_every_moment(runs: Runs) -> None:
    runs.write("import time\nfor i in range(400):\n    stream(f'{i} ' * 500)\n    time.sleep(0.01)")
    seen = set()
    with runs.begin("a.ipynb") as process:
        while process.poll() is None:
            try:
                seen.add(len((runs.base / "a.executed.ipynb").read_text()))
                json.loads((runs.base / "a.executed.ipynb").read_text())
            except FileNotFoundError:
                pass
    assert process.returncode == 0
    assert len(seen) > 2


def test_nohup_is_respected(runs: Runs) -> None:
    runs.write("import time; stream('began'); time.sleep(1); stream('ended')")
    with runs.begin("a.ipynb", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        until(lambda: "began" in saved_text(runs))
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    assert runs.text() == "beganended"


# --- on a terminal ------------------------------------------------------------------------------


def test_a_bar_and_control_c_on_a_terminal(runs: Runs) -> None:
    runs.write("stream('a')", LONG)
    with on_terminal(runs.command("a.ipynb"), env=runs.env, cwd=runs.base) as terminal:
        terminal.wait_for("1/2")
        terminal.wait_for("import time; stream('began')")
        until(lambda: "began" in saved_text(runs))
        terminal.type("\x03")
        assert terminal.wait_end() == 130
        assert "Interrupted" in terminal.text
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")  # the cursor is there again
    assert runs.text() == "abegan"


def test_colours_of_tracebacks_are_for_terminals_and_nothing_else_is(runs: Runs) -> None:
    text = "\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2Jbad\x9b\u202e"
    runs.write(f"class Bad(Exception):\n    def __repr__(self): return {text!r}", "raise Bad")
    for names, red in (({}, True), ({"NO_COLOR": "1"}, False)):
        with on_terminal(runs.command("a.ipynb", "--no-progress"), env=runs.env | names, cwd=runs.base) as terminal:
            assert terminal.wait_end() == 1
            assert ("\x1b[31mred\x1b[0m" in terminal.raw) is red
            assert "red" in terminal.text
            assert "\x1b]" not in terminal.raw
            assert "\x1b[2J" not in terminal.raw
            assert "\u202e" not in terminal.raw
            assert "bad\\x9b\\u202e" in terminal.text


@pytest.mark.parametrize("names", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_dumb_terminal_gets_lines(runs: Runs, names: dict[str, str]) -> None:
    runs.write("stream('a')")
    with on_terminal(runs.command("a.ipynb"), env=runs.env | names, cwd=runs.base) as terminal:
        assert terminal.wait_end() == 0
        assert "\x1b" not in terminal.raw
        assert terminal.text.startswith("[1/1] ok after")


def test_a_terminal_without_unicode_gets_a_bar_of_ascii(runs: Runs) -> None:
    runs.write("stream('a')")
    names = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    with on_terminal(runs.command("a.ipynb"), env=runs.env | names, cwd=runs.base, columns=60) as terminal:
        assert terminal.wait_end() == 0
        assert terminal.raw.isascii()
        assert "1/1" in terminal.text


def test_somebody_at_the_terminal_is_asked(runs: Runs) -> None:
    runs.write(
        "name = input('Your na\\x1b[31mme? ')",
        "import getpass; print(name, getpass.getpass('Secret? '))",
        kernel="python3",
    )
    with on_terminal(runs.command("a.ipynb"), env=runs.env, cwd=runs.base) as terminal:
        terminal.wait_for("Your na\\x1b[31mme? ")
        terminal.type("Zoë\n")
        terminal.wait_for("Secret? ")
        terminal.type("hunter2\n")
        assert terminal.wait_end() == 0
        assert "Zoë" in terminal.text
        assert "hunter2" not in terminal.text
    assert "Zoë hunter2" in runs.text()


def test_the_end_of_input_is_no_answer(runs: Runs) -> None:
    runs.write("input('name? ')", kernel="python3")
    with on_terminal(runs.command("a.ipynb"), env=runs.env, cwd=runs.base) as terminal:
        terminal.wait_for("name? ")
        terminal.type("\x04")
        assert terminal.wait_end() == 1
        assert "nobody gives it here" in terminal.text


def test_control_c_while_a_question_waits(runs: Runs) -> None:
    runs.write("import getpass; getpass.getpass('Secret? ')", kernel="python3")
    with on_terminal(runs.command("a.ipynb"), env=runs.env, cwd=runs.base) as terminal:
        terminal.wait_for("Secret? ")
        terminal.type("\x03")
        assert terminal.wait_end() == 130
