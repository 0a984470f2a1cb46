"""A client's JSON as a literal: real interpreters run it, and nothing in it may get out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from fps_kernels.notebook_http.request.literals import LANGUAGES, printable

from ..support.examples import examples
from ..support.hostile_texts import hostile
from ..support.programs import need

SHELL = "{code}\nprintf '%s\\n' \"$REQUEST\"\n"
READERS = {
    "python": ([sys.executable, "-"], "import sys\n{code}\nsys.stdout.write(REQUEST + '\\n')\n"),
    # As IRkernel parses its code. R's own console would cut lines after 4,095 bytes.
    "r": (
        ["Rscript", "--vanilla", "-e", 'eval(parse(text = readLines(file("stdin"))))'],
        '{code}\ncat(REQUEST, "\\n", sep = "")\n',
    ),
    "bash": (["bash"], SHELL),
    "sh": (["sh"], SHELL),
    "dash": (["dash"], SHELL),
    "zsh": (["zsh"], SHELL),
    "ksh": (["ksh"], SHELL),
    "perl": (["perl", "-"], 'use strict; use utf8;\n{{ {code}\nprint $REQUEST, "\\n"; }}\n'),
    "ruby": (["ruby", "-W0", "-"], '{code}\n$stdout.write(REQUEST, "\\n")\n'),
    "tcl": (["tclsh"], "{code}\nputs $REQUEST\n"),
    "lua": (["lua5.4", "-"], '{code}\nio.write(REQUEST, "\\n")\n'),
    "php": (["php"], '<?php {code}\necho $REQUEST, "\\n" ?>'),
    "octave": (["octave-cli", "--norc", "--no-history", "--quiet"], '{code}\nputs([REQUEST "\\n"]);\n'),
    "javascript": (["node", "-"], "{code}\nprocess.stdout.write(REQUEST + '\\n');\n"),
    "typescript": (
        ["deno", "run", "--quiet", "--no-config", "--allow-read", "--ext=ts", "-"],
        "var REQUEST: string;\n{code}\nconsole.log(REQUEST);\n",
    ),
}
"""How to run code that prints the variable; the same program may run many such pieces one after the other."""


def requests(texts: Sequence[str]) -> list[str]:
    """JSON texts in which each text is a key and a value, in both spellings that json.dumps has."""
    values = [{"body": text, "args": {text: [text]}} for text in texts]
    escaped = [json.dumps(value) for value in values]
    return escaped + [json.dumps(value, ensure_ascii=False) for value in values]


def reader(language: str) -> tuple[list[str], str]:
    """The command and the template of the language's interpreter."""
    (program, *arguments), template = READERS[language]
    return [need(program), *arguments], template


def held(language: str, json_texts: Sequence[str], cwd: Path) -> list[bytes]:
    """What the variable holds after each assignment, in the interpreter of the language."""
    return run(language, [LANGUAGES[language].assign("REQUEST", text) for text in json_texts], cwd)


def run(language: str, codes: Sequence[str], cwd: Path) -> list[bytes]:
    """What the variable holds after each piece of code, in the interpreter of the language."""
    command, template = reader(language)
    program = "".join(template.format(code=code) for code in codes)
    done = subprocess.run(command, input=program.encode("ascii"), capture_output=True, cwd=cwd, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.removesuffix(b"\n").split(b"\n")


@pytest.mark.parametrize("language", READERS)
def test_an_interpreter_gets_hostile_texts_byte_for_byte(language: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    texts = requests(hostile(touched))
    assert held(language, texts, tmp_path) == [printable(text).encode("ascii") for text in texts]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("language", READERS)
def test_a_text_that_is_not_json_does_not_get_out_either(language: str, tmp_path: Path) -> None:
    texts = hostile(tmp_path / "touched")
    assert held(language, texts, tmp_path) == [printable(text).encode("ascii") for text in texts]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("language", READERS)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text() | st.text("'\"\\$`!@#%{}()[]\n\x7f u0027"), min_size=1, max_size=40))
def test_an_interpreter_gets_any_text_byte_for_byte(language: str, texts: list[str], tmp_path: Path) -> None:
    made = [*requests(texts), *texts]
    assert held(language, made, tmp_path) == [printable(text).encode("ascii") for text in made]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("language", READERS)
def test_an_interpreter_gets_a_megabyte(language: str, tmp_path: Path) -> None:
    text = json.dumps({"body": "0'\"\\$`é" * 100_000})
    assert held(language, [text], tmp_path) == [printable(text).encode("ascii")]


@pytest.mark.parametrize("language", READERS)
def test_an_interpreter_adds_hostile_texts_to_each_other(language: str, tmp_path: Path) -> None:
    form = LANGUAGES[language]
    texts = hostile(tmp_path / "touched")
    code = "\n".join([form.assign("REQUEST", ""), *(form.append("REQUEST", text) for text in texts)])
    assert run(language, [code], tmp_path) == ["".join(map(printable, texts)).encode("ascii")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("language", READERS)
def test_an_interpreter_reads_a_file_of_a_strange_name(language: str, tmp_path: Path) -> None:
    text = printable(json.dumps(hostile(tmp_path / "touched")))
    path = tmp_path / "'; \"$(x) [y] {z} \\u0041 #{a} %s.json"
    path.write_text(text)
    assert run(language, [LANGUAGES[language].read("REQUEST", str(path))], tmp_path) == [text.encode("ascii")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("language", READERS)
def test_an_interpreter_complains_of_a_file_that_is_not_there(language: str, tmp_path: Path) -> None:
    """Its kernel reports an error then. tclsh and the shells go on with the next line, so this one is the last."""
    command, template = reader(language)
    code = template[: template.index("{code}") + 6].format(code=LANGUAGES[language].read("REQUEST", "/nonexistent/x"))
    program = code.removeprefix("use strict; use utf8;\n{ ").encode()
    done = subprocess.run(command, input=program, capture_output=True, cwd=tmp_path, timeout=60)
    assert b"nonexistent" in done.stderr + done.stdout or b"cannot open" in done.stderr
    assert done.returncode != 0 or language == "tcl"


def test_every_language_but_two_meets_its_interpreter() -> None:
    """Julia and Scala are not in Debian, or start for too long; tests/unit/test_literals.py has their rules."""
    assert set(LANGUAGES) - set(READERS) == {"julia", "scala"}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # xdist has threads
def test_a_terminal_erases_no_quote(tmp_path: Path) -> None:
    """The bash kernel types its code into bash, where DEL deletes what is before it."""
    replwrap = pytest.importorskip("pexpect.replwrap")
    touched = tmp_path / "touched"
    shell = replwrap.bash()
    try:
        for text in requests(
            ["\x7f" * 60 + f"touch {touched} #", f"\x15touch {touched}\r", "!touch\t\t\x03", "x" * 9000]
        ):
            shell.run_command(LANGUAGES["bash"].assign("REQUEST", text))
            assert shell.run_command("printf '%s\\n' \"$REQUEST\"").replace("\r\n", "") == printable(text)
    finally:
        shell.child.close(force=True)
    assert not touched.exists()


@given(text=st.text() | st.text("?!%$\"'\\; \n"))
def test_ipython_finds_no_magic(text: str) -> None:
    """Its input may be rewritten before it is Python: `x = !ls`, `x = %magic`, `x?`."""
    code = LANGUAGES["python"].assign("REQUEST", json.dumps(text))
    assert TransformerManager().transform_cell(code) == f"{code}\n"


def test_javascript_in_strict_mode_finds_the_variable() -> None:
    language = LANGUAGES["javascript"]
    program = "\n".join(["'use strict';", language.declare("REQUEST"), language.assign("REQUEST", "{}")])
    done = subprocess.run([need("node"), "-"], input=f"{program}\nconsole.log(REQUEST)".encode(), capture_output=True)
    assert (done.stdout, done.stderr) == (b"{}\n", b"")
