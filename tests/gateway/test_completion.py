"""The words of `fps-kernels` are completed, in the shells themselves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.gateways import COMMAND
from ..support.programs import need
from ..support.ptys import PtyCommand, on_terminal
from ..support.runs import environ_of
from ..support.terminals import terminal_text

Complete = Callable[[str], list[str]]
BASH = """\
source "$2"
line=$1
COMP_LINE=$line COMP_POINT=${#line}
# The words as readline makes them, with = as a word of its own.
COMP_WORDS=() word=''
for (( i = 0; i < ${#line}; i++ )); do
    case ${line:i:1} in
        ' ') [[ -n $word ]] && COMP_WORDS+=("$word"); word='' ;;
        =) COMP_WORDS+=("$word" =); word='' ;;
        *) word+=${line:i:1} ;;
    esac
done
[[ $line == *= ]] || COMP_WORDS+=("$word")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
compopt() { :; }
_fps_kernels
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a note.ipynb", "b.ipynb", "text.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


def output(command: list[str], folder: Path) -> str:
    environ = environ_of(folder)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script of each shell."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in ("bash", "zsh", "fish"):
        (folder / shell).write_text(output([COMMAND, "completion", shell], folder))
    return folder


@pytest.fixture(params=["bash", "fish"])
def complete(request: pytest.FixtureRequest, folder: Path, scripts: Path) -> Complete:
    """What may stand in the place of the last word of a line."""
    shell = need(request.param)

    def bash(line: str) -> list[str]:
        return [
            one
            for one in output([shell, "--norc", "-c", BASH, "bash", line, str(scripts / "bash")], folder).splitlines()
            if one
        ]

    def fish(line: str) -> list[str]:
        script = f"source {scripts / 'fish'}; complete -C $argv[1]"
        found = output([shell, "--no-config", "-c", script, line], folder).splitlines()
        words = [one.partition("\t")[0] for one in found]
        if "=" in line.rpartition(" ")[2]:
            words = [word.partition("=")[2] for word in words]
        return [word.replace("\\ ", " ").removesuffix("/") for word in words]

    return bash if request.param == "bash" else fish


def test_commands(complete: Complete) -> None:
    assert sorted(complete("fps-kernels ")) == [
        "completion",
        "keeper",
        "kernels",
        "lab",
        "password",
        "run",
        "stop",
    ]
    assert complete("fps-kernels ru") == ["run"]


def test_options(complete: Complete) -> None:
    assert {"--parameters", "--parameters-file", "--progress"} <= set(complete("fps-kernels run --p"))
    assert complete("fps-kernels run --inpl") == ["--inplace"]
    assert {"--port", "--port-retries", "--password-file"} <= set(complete("fps-kernels lab --p"))
    assert complete("fps-kernels lab --root") == ["--root-dir"]
    assert complete("fps-kernels stop --al") == ["--all"]
    assert {"--port", "--port_retries"} <= set(complete("fps-kernels --po"))
    assert complete("fps-kernels --seed") == ["--seed_uri"]
    [one] = complete("fps-kernels --KernelGatewayApp.max_k")
    assert one.removesuffix("=") == "--KernelGatewayApp.max_kernels"


def test_files_folders_and_notebooks(complete: Complete) -> None:
    found = [one for one in complete("fps-kernels run ") if "." in one]
    assert set(found[:2]) == {"a note.ipynb", "b.ipynb"}  # fish has all others after them
    assert "text.txt" in complete("fps-kernels run -f ")
    assert "text.txt" in complete("fps-kernels run --output te")
    assert set(complete("fps-kernels run --cwd su")) == {"sub"}
    assert "text.txt" in complete("fps-kernels --certfile=te")
    assert complete("fps-kernels lab te") == ["text.txt"]


def test_choices_and_names_of_kernels(complete: Complete) -> None:
    assert set(complete("fps-kernels keeper re")) == {"restart"}
    assert set(complete("fps-kernels completion ")) == {"bash", "zsh", "fish", "kernels"}
    assert complete("fps-kernels run --kernel tiny_pl") == ["tiny_plain"]
    assert complete("fps-kernels run -k tiny_pl") == ["tiny_plain"]


def wait(condition: Callable[[], bool], terminal: PtyCommand, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, terminal.raw
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("fps-kernels ru\tbbb", "fps-kernels run bbb"),
        ("fps-kernels run --inpl\tbbb", "fps-kernels run --inplace bbb"),
        ("fps-kernels run b\tbbb", "fps-kernels run b.ipynb bbb"),
        ("fps-kernels run a\tbbb", "fps-kernels run a\\ note.ipynb bbb"),
        ("fps-kernels run --cwd su\t", "fps-kernels run --cwd sub/"),
        ("fps-kernels run -k tiny_pl\tbbb", "fps-kernels run -k tiny_plain bbb"),
        ("fps-kernels completion fi\tbbb", "fps-kernels completion fish bbb"),
        ("fps-kernels --KernelGatewayApp.max_ke\tbbb", "fps-kernels --KernelGatewayApp.max_kernels=bbb"),
        ("fps-kernels lab --root\tsu\t", "fps-kernels lab --root-dir"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_key_is_pressed(folder: Path, scripts: Path, shell: str, typed: str, shown: str) -> None:
    begin = "" if shell == "bash" else "autoload -U compinit; compinit -D; "
    command = {"bash": [need("bash"), "--norc", "-i"], "zsh": [need("zsh"), "-f", "-i"]}[shell]
    with on_terminal(command, env=environ_of(folder, ZDOTDIR=str(folder)), cwd=folder, columns=200) as terminal:
        terminal.type(f"{begin}source {scripts / shell}; PS1='rea''dy '\n")
        prompt = "\x1b[?2004hready " if shell == "bash" else "ready \x1b[K\x1b[?2004h"  # then the line is edited
        wait(lambda: prompt in terminal.raw, terminal)
        terminal.type(typed)
        wait(lambda: shown in terminal_text(terminal.text), terminal)


def test_a_script_has_every_command_and_is_read(folder: Path, scripts: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "allow-errors" in (scripts / shell).read_text()
        output([need(shell), "-n", str(scripts / shell)], folder)
    assert "tiny_plain" in output([COMMAND, "completion", "kernels"], folder).split()


def test_a_shell_that_is_none(folder: Path) -> None:
    done = subprocess.run([COMMAND, "completion", "tcsh"], env=environ_of(folder), capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'tcsh'" in done.stderr
