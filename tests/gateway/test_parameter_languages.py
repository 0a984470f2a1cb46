"""Parameters as code: real interpreters run it, and have the values that were given, whatever is in them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.notebook_run.parameter_code import LANGUAGES, CannotExpress, parameter_language

from ..support.hostile_texts import hostile
from ..support.notebooks import code_cell
from ..support.programs import need
from ..support.runs import Runs

PRINTERS = {
    "python": ([sys.executable, "-"], "import sys\n{code}\nfor s in {names}: sys.stdout.write(s + chr(1))\n"),
    "r": (
        ["Rscript", "--vanilla", "-e", 'eval(parse(text = readLines(file("stdin"), encoding = "UTF-8")))'],
        '{code}\nfor (s in list({list})) cat(enc2utf8(s), "\\001", sep = "")\n',
    ),
    "bash": (["bash"], "{code}\nprintf '%s\\001' {quoted}\n"),
    "zsh": (["zsh", "-f"], "{code}\nprintf '%s\\001' {quoted}\n"),
    "perl": (["perl", "-CO", "-"], "{code}\nprint $_, chr(1) for ({dollars});\n"),
    "ruby": (["ruby", "-W0", "-"], "{code}\n[{list}].each {{ |s| $stdout.write(s, 1.chr) }}\n"),
    "lua": (["lua5.4", "-"], "{code}\nfor _, s in ipairs({{{list}}}) do io.write(s, '\\1') end\n"),
    "php": (["php"], "<?php\n{code}\nforeach ([{dollars}] as $s) echo $s, chr(1);\n"),
    "javascript": (["node", "-"], "{code}\nfor (const s of [{list}]) process.stdout.write(s + '\\x01');\n"),
    "typescript": (
        ["deno", "run", "--quiet", "--no-config", "--no-check", "--ext=ts", "-"],
        "{code}\nconsole.log([{list}].join('\\x01') + '\\x01');\n",
    ),
}
"""How to print variables, each followed by the character 1."""


def printed(language: str, parameters: Mapping[str, Any], cwd: Path, template: str | None = None) -> str:
    (program, *arguments), own = PRINTERS[language]
    names = list(parameters)
    code = (template or own).format(
        code=LANGUAGES[language].code(parameters),
        names=f"({', '.join(names)},)",
        list=", ".join(names),
        dollars=", ".join(f"${name}" for name in names),
        quoted=" ".join(f'"${name}"' for name in names),
    )
    env = {"LC_ALL": "C.UTF-8", "PATH": subprocess.os.environ["PATH"], "HOME": str(cwd)}  # type: ignore[attr-defined]
    done = subprocess.run(
        [need(program), *arguments], input=code.encode(), capture_output=True, cwd=cwd, env=env, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


@pytest.mark.parametrize("language", PRINTERS)
def test_no_string_becomes_code(tmp_path: Path, language: str) -> None:
    texts = [text for text in hostile(tmp_path / "touched") if "\x01" not in text]
    try:
        LANGUAGES[language].string("\0")
    except CannotExpress:
        texts = [text.replace("\0", "") for text in texts]
    parameters = {f"p{number}": text for number, text in enumerate(texts)}
    assert printed(language, parameters, tmp_path).split("\x01")[:-1] == texts
    assert not (tmp_path / "touched").exists()


VALUES = {
    "none": None,
    "yes": True,
    "no": False,
    "small": -3,
    "large": 2**53 - 1,
    "real": -0.1,
    "tiny": 1e-300,
    "huge": 1e300,
    "text": "é\n\U0001f600",
    "items": [1, [2, "a"], {"k": [True, None]}],
    "table": {"a b": {"c": 'd"'}, "__proto__": 1},
    "empty_list": [],
    "empty_table": {},
}
DUMPERS = {
    "python": "import json\n{code}\nprint(json.dumps({names}))\n",
    "ruby": "require 'json'\n{code}\nputs [{list}].to_json\n",
    "javascript": "{code}\nconsole.log(JSON.stringify([{list}]));\n",
    "typescript": "{code}\nconsole.log(JSON.stringify([{list}]));\n",
    "php": "<?php\n{code}\nini_set('serialize_precision', -1);\necho json_encode([{dollars}]);\n",
    "perl": "use JSON::PP;\n{code}\nprint JSON::PP->new->utf8(0)->encode([{dollars}]);\n",
}


@pytest.mark.parametrize("language", DUMPERS)
def test_values_stay_what_they_are(tmp_path: Path, language: str) -> None:
    found = json.loads(printed(language, VALUES, tmp_path, DUMPERS[language]))
    expected = list(VALUES.values())
    if language == "php":
        expected[-1] = []  # where a table and a list are one
    if language == "perl":
        expected[1:3] = [1, 0]
        expected[9] = [1, [2, "a"], {"k": [1, None]}]
    assert found == expected


def test_values_in_r(tmp_path: Path) -> None:
    template = (
        "{code}\nstopifnot(is.null(none), isTRUE(yes), identical(no, FALSE), small == -3, large == 2^53 - 1,"
        ' real == -0.1, tiny == 1e-300, huge == 1e300, text == "\\u00e9\\n\\U0001f600", items[[2]][[2]] == "a",'
        ' isTRUE(items[[3]]$k[[1]]), table[["a b"]]$c == "d\\"", is.nan(n), i == Inf, m == -Inf,'
        " length(empty_list) == 0)\n"
    )
    special = {"n": math.nan, "i": math.inf, "m": -math.inf}
    printed("r", VALUES | special, tmp_path, template)


def test_values_in_lua_and_shells(tmp_path: Path) -> None:
    template = (
        "{code}\nassert(none == nil and yes == true and no == false and small == -3 and large == 2^53 - 1)\n"
        "assert(real == -0.1 and items[2][2] == 'a' and items[3].k[1] == true and table_['a b'].c == 'd\"')\n"
        "assert(n ~= n and i == math.huge and m == -math.huge and #empty_list == 0)\n"
    )
    special = {"n": math.nan, "i": math.inf, "m": -math.inf}
    values = {f"{name}_" if name == "table" else name: value for name, value in VALUES.items()}
    printed("lua", values | special, tmp_path, template)
    for shell in ("bash", "zsh"):
        template = '{code}\nprintf \'%s|\' "$none" "$yes" "$small" "${{items[@]}}" "${{#empty[@]}}"\n'
        values = {"none": None, "yes": True, "small": -3, "items": ["a b", 1, "$(x)"], "empty": []}
        assert printed(shell, values, tmp_path, template) == "|true|-3|a b|1|$(x)|0|"


@pytest.mark.parametrize(
    ("language", "template"),
    [
        ("python", "{code}\nimport math\nassert math.isnan(n) and i == math.inf and m == -math.inf and b == 10**40"),
        ("ruby", "{code}\nraise unless n.nan? && i == Float::INFINITY && m == -i && b == 10**40"),
        ("javascript", "{code}\nif (!(n !== n && i === Infinity && m === -i && b === 10n ** 40n)) throw 1;"),
    ],
)
def test_numbers_that_json_does_not_have(tmp_path: Path, language: str, template: str) -> None:
    values = {"n": math.nan, "i": math.inf, "m": -math.inf, "b": 10**40}
    printed(language, values, tmp_path, template)


@pytest.mark.parametrize(
    ("language", "value", "said"),
    [
        ("r", 2**60, "no exact integer"),
        ("r", "a\0", "NUL"),
        ("r", {"": 1}, "cannot be empty"),
        ("bash", {"a": 1}, "bash has no mapping; give it as JSON"),
        ("bash", [[1]], "bash has no list within a value"),
        ("bash", "a\0", "NUL"),
        ("python", "\ud800", "surrogate"),
        ("python", {1: 2}, "keys of a mapping must be strings"),
    ],
)
def test_what_a_language_cannot_hold_is_refused(language: str, value: object, said: str) -> None:
    with pytest.raises(CannotExpress, match=f"parameter 'p': .*{said}"):
        LANGUAGES[language].code({"p": value})


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["", "a b", "a;b", "a\n", "1a", "a-b", "$a", "a=1", "`x`", "é\u0301 "])
def test_a_name_is_no_code(language: str, name: str) -> None:
    with pytest.raises(CannotExpress, match="no variable of"):
        LANGUAGES[language].code({name: 1})


@pytest.mark.parametrize("language", ["python", "r", "julia", "ruby", "javascript", "typescript", "lua", "bash", "zsh"])
def test_a_word_of_the_language_is_no_name(language: str) -> None:
    with pytest.raises(CannotExpress, match="no variable of"):
        LANGUAGES[language].code({"if": 1})


def test_a_language_that_is_not_known_is_refused() -> None:
    with pytest.raises(BadOption, match=r"Klingon.*There are Python, R, Julia"):
        parameter_language("Klingon")
    assert parameter_language("R").label == "R"


# --- in a notebook ------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def injected(runs: Runs, path: str = "a.executed.ipynb") -> list[tuple[int, str]]:
    cells = runs.read(path)["cells"]
    return [
        (number, "".join(cell["source"]))
        for number, cell in enumerate(cells)
        if "injected-parameters" in cell["metadata"].get("tags", ())
    ]


def test_parameters_come_after_the_cell_of_their_defaults(runs: Runs) -> None:
    runs.write("stream('a')", code_cell("x = 1; y = 2", tags=["parameters"]), "stream(repr((x, y)))")
    (runs.base / "p.yml").write_text("x: [1, 2]\ny: 2020-01-01\n")
    runs.run("a.ipynb", "-f", "p.yml", "-p", "x", "{a: 1.5, b: no}")
    assert injected(runs) == [(2, '# Parameters\nx = {"a": 1.5, "b": "no"}\ny = "2020-01-01"')]
    assert runs.text() == "a({'a': 1.5, 'b': 'no'}, '2020-01-01')"
    runs.run("a.executed.ipynb", "-r", "x", "3", "-o", "b.ipynb")  # in the place of those before
    assert injected(runs, "b.ipynb") == [(2, '# Parameters\nx = "3"')]


def test_parameters_come_first_without_such_a_cell(runs: Runs) -> None:
    runs.write("stream(repr((x, y, z)))")
    (runs.base / "p.json").write_text('{"z": 1e999}')
    runs.run("a.ipynb", "-p", "x", "1", "-r", "x", "True", "-p", "y", "None", "-f", "p.json")
    assert injected(runs)[0][0] == 0
    assert runs.text() == "('True', None, inf)"


def test_a_parameter_that_the_notebook_does_not_have_is_noted(runs: Runs) -> None:
    runs.write(code_cell("x = 1", tags=["parameters"]))
    assert "The cell tagged parameters does not have z" in runs.run("a.ipynb", "-p", "z", "1").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "x", "[1"], "-p x: not YAML"),
        (["-p", "x", "!!binary aGk="], "-p x: not YAML"),
        (["-p", "x", "!!python/object:os.system {}"], "-p x: not YAML"),
        (["-p", "a b", "1"], "parameter 'a b': no variable of Python"),
        (["-f", "nowhere.yml"], "-f nowhere.yml: No such file"),
        (["-f", "list.yml"], "not a mapping"),
        (["-f", "bad.yml"], "neither JSON nor YAML"),
    ],
)
def test_parameters_that_are_none(runs: Runs, words: list[str], said: str) -> None:
    runs.write("1")
    (runs.base / "list.yml").write_text("[1]")
    (runs.base / "bad.yml").write_text("{")
    done = runs.run("a.ipynb", *words, code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_kernel_of_an_unknown_language_gets_no_parameters(runs: Runs) -> None:
    runs.write("stream('a')", kernel="tiny_klingon")
    assert "'Klingon'" in runs.run("a.ipynb", "-p", "x", "1", code=2).stderr
    runs.run("a.ipynb")
    assert runs.text() == "a"


def test_parameters_of_bash_and_deno(runs: Runs, tmp_path: Path) -> None:
    """Their kernels read code in ways of their own: the one types it into a terminal."""
    share = Path(runs.env["JUPYTER_PATH"]) / "kernels"
    for name, argv in {
        "bash": [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"],
        "deno": [need("deno"), "jupyter", "--kernel", "--conn", "{connection_file}"],
    }.items():
        (share / name).mkdir()
        (share / name / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": name}))
    texts = [text for text in hostile(tmp_path / "touched") if "\0" not in text]
    words = [word for number, text in enumerate(texts) for word in ("-r", f"p{number}", text)]
    runs.write("printf '%s\\001' " + " ".join(f'"$p{number}"' for number in range(len(texts))), kernel="bash")
    runs.run("a.ipynb", *words, "-o", "bash.ipynb")
    assert not (tmp_path / "touched").exists()
    names = ", ".join(f"p{number}" for number in range(len(texts)))
    runs.write(
        code_cell("let p0 = 'default'; const rest = 1;", tags=["parameters"]),
        f"console.log(JSON.stringify([{names}]))",
        kernel="deno",
    )
    runs.run("a.ipynb", *words, "-o", "deno.ipynb")
    assert json.loads(runs.text("deno.ipynb")) == texts
    assert not (tmp_path / "touched").exists()
