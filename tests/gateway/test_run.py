"""`fps-kernels run`: a notebook is executed on a kernel of its own, and saved."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ..support.notebooks import code_cell, markdown_cell
from ..support.outputs import stream
from ..support.runs import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


# --- what is saved, and where -------------------------------------------------------------------


def test_the_notebook_itself_is_left_alone(runs: Runs) -> None:
    path = runs.write("stream('a')", markdown_cell("# b"), "stream('c')")
    before = path.read_bytes()
    done = runs.run(path)
    assert path.read_bytes() == before
    assert done.stdout == ""
    assert runs.outputs() == [[stream("a")], [stream("c")]]
    assert runs.read()["cells"][1]["source"] == ["# b"]
    assert runs.left() == []


def test_inplace_is_for_the_notebook(runs: Runs) -> None:
    path = runs.write("stream('a')")
    path.chmod(0o640)
    runs.run(path, "--inplace")
    assert runs.text("a.ipynb") == "a"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not (runs.base / "a.executed.ipynb").exists()


def test_an_output_file_and_standard_output(runs: Runs) -> None:
    path = runs.write("stream('é')")
    runs.run(path, "-o", "sub.ipynb")
    assert runs.text("sub.ipynb") == "é"
    done = runs.run(path, "-o", "-")
    assert json.loads(done.stdout)["cells"][0]["outputs"][0]["text"] == ["é"]
    runs.run(path, "--output", "/dev/null")
    with path.open() as file:
        done = runs.run("-", stdin=file)
    assert "é" in done.stdout


def test_a_link_stays_one(runs: Runs) -> None:
    target = runs.write("stream('a')", name="target.ipynb")
    link = runs.base / "link.ipynb"
    link.symlink_to(target)
    runs.run(link, "--inplace")
    assert link.is_symlink()
    assert runs.text("target.ipynb") == "a"


def test_the_file_is_written_as_nbformat_does(runs: Runs) -> None:
    runs.write("stream('a\\nb')", code_cell("1", tags=["x"]), markdown_cell("c\nd"))
    runs.run("a.ipynb")
    text = (runs.base / "a.executed.ipynb").read_text()
    assert text == nbformat.writes(nbformat.reads(text, as_version=4)) + "\n"


def test_timings_counts_and_the_language_are_noted(runs: Runs) -> None:
    path = runs.write("1")
    notebook = json.loads(path.read_text())
    notebook["metadata"] = {}
    path.write_text(json.dumps(notebook))
    runs.run(path, "-k", "tiny_plain")
    saved = runs.read()
    [cell] = saved["cells"]
    assert cell["execution_count"] == 1
    assert {"iopub.execute_input", "iopub.status.busy", "iopub.status.idle", "shell.execute_reply"} <= (
        cell["metadata"]["execution"].keys()
    )
    assert saved["metadata"]["kernelspec"] == {
        "name": "tiny_plain",
        "display_name": "Tiny (plain)",
        "language": "python",
    }
    assert saved["metadata"]["language_info"]["name"] == "python"


def test_what_the_notebook_says_of_its_kernel_stays(runs: Runs) -> None:
    path = runs.write("1")
    metadata = json.loads(path.read_text())["metadata"]
    runs.run(path)
    assert runs.read()["metadata"] == metadata


def test_old_outputs_are_taken_out_but_not_of_skipped_cells(runs: Runs) -> None:
    old = [stream("old")]
    runs.write(
        code_cell("stream('new')", outputs=old),
        code_cell("boom", outputs=old, tags=["skip-execution"]),
        code_cell("  \n", outputs=old),
    )
    runs.run("a.ipynb")
    assert runs.outputs() == [[stream("new")], old, old]


def test_notebooks_of_format_3_and_without_ids(runs: Runs) -> None:
    v3 = nbformat.v3.new_notebook(
        worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell(input="stream('three')")])]
    )
    (runs.base / "v3.ipynb").write_text(nbformat.v3.writes_json(v3))
    runs.run("v3.ipynb", "-k", "tiny_plain")
    assert runs.text("v3.executed.ipynb") == "three"
    cell = {"cell_type": "code", "metadata": {}, "source": ["stream(\n", "'four')"], "outputs": [], "x": 1}
    old = {"nbformat": 4, "nbformat_minor": 2, "metadata": {}, "cells": [cell, dict(cell)]}
    (runs.base / "v4.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps(old).encode())
    runs.run("v4.ipynb", "-k", "tiny_plain", "-p", "day", "1")
    saved = json.loads((runs.base / "v4.executed.ipynb").read_text())
    assert [cell.get("id") for cell in saved["cells"]] == [None] * 3
    assert saved["cells"][1]["x"] == 1
    assert runs.text("v4.executed.ipynb") == "fourfour"


def test_the_kernel_starts_in_the_folder_of_the_notebook(runs: Runs) -> None:
    (runs.base / "sub").mkdir()
    path = runs.write("import os; stream(os.getcwd())", name="sub/a.ipynb")
    runs.run(path)
    assert runs.text("sub/a.executed.ipynb") == str(runs.base / "sub")
    runs.run(path, "--cwd", "..", cwd=runs.base / "sub")
    assert runs.text("sub/a.executed.ipynb") == str(runs.base)


def test_secrets_of_servers_are_not_in_the_kernels_environment(runs: Runs) -> None:
    runs.write("import os; stream(str(os.environ.get('FPS_KERNELS_TOKEN')))")
    runs.run("a.ipynb", env=runs.env | {"FPS_KERNELS_TOKEN": "x" * 20})
    assert runs.text() == "None"


# --- outputs ------------------------------------------------------------------------------------


def test_outputs_of_ipython(runs: Runs) -> None:
    runs.write(
        "from IPython.display import display, clear_output, HTML\n"
        "handle = display('one', display_id='x')\nclear_output(wait=True)\nprint('two')",
        "h = display(HTML('<b>1</b>'), display_id='y')",
        "h.update(HTML('<b>2</b>')); 3",
        "import sys\nfor i in range(5): print(f'\\r{i}', end='')\nprint('x' * 3_000_000)\nprint('é', file=sys.stderr)",
        kernel="python3",
    )
    runs.run("a.ipynb")
    one, two, three, four = runs.outputs()
    assert one == [stream("two\n")]
    assert two[0]["data"]["text/html"] == "<b>2</b>"
    assert three[0]["data"] == {"text/plain": "3"}
    assert four == [stream("4" + "x" * 3_000_000 + "\n"), stream("é\n", "stderr")]


def test_what_json_cannot_hold_does_not_spoil_the_file(runs: Runs) -> None:
    data = "{'application/json': {'x': float('nan'), 'y': 2**70}, 'text/plain': '\\ud800'}"
    runs.write(f"publish('display_data', {{'data': {data}, 'metadata': {{}}}})")
    runs.run("a.ipynb")
    json.loads((runs.base / "a.executed.ipynb").read_text(), parse_constant=pytest.fail)
    [[output]] = runs.outputs()
    assert output["data"]["application/json"]["x"] is None


def test_ten_thousand_outputs_are_all_kept(runs: Runs) -> None:
    runs.write(
        "for i in range(10_000): publish('display_data', {'data': {'text/plain': str(i)}, 'metadata': {}})",
        "stream('\\n'.join('y' * 79 for _ in range(200_000)))",
    )
    runs.run("a.ipynb")
    first, second = runs.outputs()
    assert [one["data"]["text/plain"] for one in first] == [str(number) for number in range(10_000)]
    assert len(second[0]["text"]) == 80 * 200_000 - 1


def test_the_state_of_widgets_is_saved(runs: Runs) -> None:
    runs.write(
        "import ipywidgets as w\nout = w.Output()\nslider = w.IntSlider(3)\nwith out: print('captured')\nslider",
        "slider.value = 7\nimage = w.Image(value=b'\\x89PNG')\nimage",
        kernel="python3",
    )
    runs.run("a.ipynb")
    state = runs.read()["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]
    assert (state["version_major"], state["version_minor"]) == (2, 0)
    models = {one["model_name"]: one for one in state["state"].values()}
    assert models["IntSliderModel"]["state"]["value"] == 7
    assert models["IntSliderModel"]["model_module"] == "@jupyter-widgets/controls"
    assert models["OutputModel"]["state"]["outputs"][0]["text"] == "captured\n"
    assert models["ImageModel"]["buffers"] == [{"path": ["value"], "data": "iVBORw==", "encoding": "base64"}]
    [output] = runs.outputs()[0]  # what was captured is not in the cell
    assert "application/vnd.jupyter.widget-view+json" in output["data"]


def test_output_that_comes_after_the_end_of_its_cell(runs: Runs) -> None:
    runs.write("late = dict(request['header'])", "publish('stream', {'name': 'stdout', 'text': 'late'}, parent=late)")
    runs.run("a.ipynb")
    assert runs.outputs() == [[stream("late")], []]


# --- errors, and exit codes ---------------------------------------------------------------------


def test_a_cell_that_fails_ends_the_run(runs: Runs) -> None:
    runs.write("stream('a')", "one = 1\nraise ValueError('\\x1b[31mboom\\x07')", "stream('never')")
    done = runs.run("a.ipynb", code=1)
    assert "Cell 2 failed (number 2 of the notebook):\n    one = 1\n    raise ValueError(" in done.stderr
    assert "boom\\x07" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr
    first, second, third = runs.outputs()
    assert first == [stream("a")]
    assert second[-1]["output_type"] == "error"
    assert third == []


def test_errors_that_are_allowed(runs: Runs) -> None:
    runs.write("1/0", "stream('on')")
    done = runs.run("a.ipynb", "--allow-errors")
    assert "1 cells failed" in done.stderr
    assert runs.text() == "on"
    runs.write(code_cell("1/0", tags=["raises-exception"]), "stream('on')")
    done = runs.run("a.ipynb")
    assert "[1/2] failed, as its tag says" in done.stderr
    assert runs.text() == "on"


@pytest.mark.parametrize("words", [[], ["--allow-errors"]])
def test_a_kernel_that_dies_is_told(runs: Runs, words: list[str]) -> None:
    # What a process sends just before it ends may stay with it: it ends when its output has been saved.
    cell = code_cell(
        "import os, sys, time\n"
        "word = 'be' + 'fore'\n"  # in the outputs, and not in the source
        "stream(word)\n"
        "while not os.path.exists('a.executed.ipynb') or word not in open('a.executed.ipynb').read():\n"
        "    time.sleep(0.01)\n"
        "print('why', file=sys.stderr, flush=True)\n"
        "os._exit(3)"
    )
    cell["metadata"]["tags"] = ["raises-exception"]
    runs.write(cell, "stream('never')")
    done = runs.run("a.ipynb", *words, code=4)
    assert "DeadKernelError: The kernel died: exited with code 3: why" in done.stderr
    first, second = runs.outputs()
    assert first[0] == stream("before")
    assert first[1]["ename"] == "DeadKernelError"
    assert second == []


def test_a_kernel_that_dies_between_cells(runs: Runs) -> None:
    runs.write(
        "import os, threading\nthreading.Thread(target=lambda: os._exit(9)).start()", "stream('never')", "stream('x')"
    )
    runs.run("a.ipynb", code=4)
    assert "never" not in runs.text()


def test_a_cell_that_takes_too_long_is_interrupted_and_named(runs: Runs) -> None:
    runs.write("1", "import time; stream('a'); time.sleep(600)")
    done = runs.run("a.ipynb", "--timeout", "0.5", code=5)
    assert "Cell 2 failed" in done.stderr
    assert "CellTimeoutError: The cell did not end within 0.5 s (--timeout)" in done.stderr
    assert runs.text() == "a"
    assert runs.outputs()[1][-1]["ename"] == "CellTimeoutError"


def test_a_kernel_that_is_deaf_to_its_interruption_is_ended(runs: Runs) -> None:
    runs.write("import time; stream('a')\ntime.sleep(600)", kernel="tiny_ignores_sigterm")
    runs.run("a.ipynb", "--timeout", "0.5", code=5)
    assert runs.text() == "a"


def test_a_kernel_that_never_says_that_it_is_idle(runs: Runs) -> None:
    runs.write("stream('a')", "stream('b')", kernel="tiny_no_idle")
    runs.run("a.ipynb")
    assert runs.text() == "ab"


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("tiny_silent", "did not answer within 1 s"),
        ("tiny_exits", "exited with code 3"),
        ("no_such_program", "no-such-program"),
        ("nowhere", "No kernelspec is called nowhere: there are"),
    ],
)
def test_a_kernel_that_does_not_start(runs: Runs, kernel: str, said: str) -> None:
    runs.write("1", kernel=kernel)
    done = runs.run("a.ipynb", "--start-timeout", "1", code=3)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (runs.base / "a.executed.ipynb").exists()


def test_inplace_loses_nothing_when_the_kernel_does_not_start(runs: Runs) -> None:
    path = runs.write(code_cell("1", outputs=[stream("precious")]), kernel="nowhere")
    before = path.read_bytes()
    runs.run(path, "--inplace", code=3)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b'{"cells": [', "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "it has no nbformat"),
        (b'{"nbformat": 5, "cells": []}', "its nbformat is 5"),
        (b'{"nbformat": 4}', "it has no list of cells"),
        (b'{"nbformat": 4, "cells": [1]}', "cell 1 is no object"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}', "the source of cell 1"),
        (b'{"nbformat": 3, "worksheets": 3}', "it cannot be converted from format 3"),
    ],
)
def test_what_is_no_notebook_is_told_in_one_line(runs: Runs, content: bytes, said: str) -> None:
    (runs.base / "a.ipynb").write_bytes(content)
    done = runs.run("a.ipynb", code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert (runs.base / "a.ipynb").read_bytes() == content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.ipynb"], "missing.ipynb: No such file"),
        (["."], "Is a directory"),
        (["a.ipynb", "-o", "nowhere/b.ipynb"], "there is no folder"),
        (["a.ipynb", "-o", "."], "it is a folder"),
        (["a.ipynb", "-o", "a.ipynb/b"], "Not a directory"),
        (["a.ipynb", "--cwd", "nowhere"], "--cwd=nowhere"),
        (["a.ipynb", "--cwd", ".", "--server", "http://x"], "the server decides"),
        (["a.ipynb", "--server", "x:8888"], "not a URL"),
        (["-", "--inplace"], "--inplace"),
    ],
)
def test_what_cannot_be_read_or_written_is_told_in_one_line(runs: Runs, words: list[str], said: str) -> None:
    runs.write("1")
    done = runs.run(*words, code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "NOTEBOOK"),
        (["a.ipynb", "-o", "b", "--inplace"], "not allowed with"),
        (["a.ipynb", "--timeout", "-1"], "beyond 0"),
        (["a.ipynb", "--timeout", "nan"], "beyond 0"),
        (["a.ipynb", "--time", "1"], "unrecognized"),
        (["a.ipynb", "b.ipynb"], "unrecognized"),
    ],
)
def test_wrong_words(runs: Runs, words: list[str], said: str) -> None:
    runs.write("1")
    assert said in runs.run(*words, code=2).stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_told(runs: Runs) -> None:
    runs.write("1")
    (runs.base / "b.ipynb").write_text("precious")
    (runs.base / "b.ipynb").chmod(0o400)
    assert "permission denied" in runs.run("a.ipynb", "-o", "b.ipynb", code=2).stderr
    assert (runs.base / "b.ipynb").read_text() == "precious"


def test_a_full_disk_is_told_and_leaves_a_whole_notebook(runs: Runs) -> None:
    runs.write("stream('z' * 400_000)")
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash", *runs.command("a.ipynb", "-o", "b.ipynb")]
    done = subprocess.run(
        limited, env=runs.env, cwd=runs.base, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 6, done.stderr
    assert "could not be saved: b.ipynb: File too large" in done.stderr
    runs.read("b.ipynb")
    assert runs.left() == []


# --- what is said meanwhile ---------------------------------------------------------------------


def test_a_line_for_each_cell_where_there_is_no_terminal(runs: Runs) -> None:
    runs.write("stream('a')", markdown_cell("x"), "stream('\\x1b[2J')")
    done = runs.run("a.ipynb")
    first, second = done.stderr.splitlines()
    assert first.startswith("[1/2] ok after ")
    assert first.endswith("s: stream('a')")
    assert second.startswith("[2/2] ok after ")
    assert runs.run("a.ipynb", "-q").stderr == ""
    assert "━" in runs.run("a.ipynb", "--progress").stderr


def test_input_is_refused_where_nobody_can_answer(runs: Runs) -> None:
    runs.write("input('name? ')", kernel="python3")
    done = runs.run("a.ipynb", code=1)
    assert "StdinNotImplementedError" in done.stderr
    runs.write("stream(reply_input('name? '))")  # a kernel that asks though it may not
    done = runs.run("a.ipynb", code=1)
    assert "The cell asks for input, which nobody gives it here" in done.stderr


def test_the_help_says_how_it_ends(runs: Runs) -> None:
    text = runs.run("--help").stdout
    assert "exit codes:" in text
    assert max(map(len, text.splitlines())) <= 120


def test_neither_rich_nor_pycrdt_nor_a_web_server_is_imported(runs: Runs) -> None:
    runs.write("1")
    code = (
        "import sys\nfrom fps_kernels.gateway.app import main\ntry:\n    main(['run', 'a.ipynb'])\nfinally:\n"
        "    print([name for name in ('rich', 'pycrdt', 'fastapi', 'uvicorn', 'starlette', 'ruamel.yaml', 'nbformat')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=runs.env, cwd=runs.base, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
