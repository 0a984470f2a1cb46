"""JupyterLab with shared documents and server-side execution, in a real browser, with real IPython kernels.

Needs Debian's chromium and the extra `collaboration`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Locator, expect

from ..support.lab import PYTHON, Lab, expect_ended, expect_not_run, outputs, print_log
from ..support.servers import Server, options
from ..support.waits import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARGUMENTS = [
    *options(require_yjs=True),
    *("--set", "frontend.collaborative=true", "--set", "jupyterlab.server_side_execution=true"),
]
SAVED_TIMEOUT_S = 30
CONTENTS_MODEL = "jupyterapp.shell.currentWidget.context.contentsModel"
"""What a page knows of the file that it shows."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("collaboration"), *ARGUMENTS, full=True)
    server.wait_ready()
    yield server
    server.stop()


class Notebook:
    """A notebook of this server, with the cells that a test wants, and the browser tabs that show it."""

    def __init__(self, server: Server, tab: Lab, name: str) -> None:
        self.server = server
        self.name = name
        self.path = server.root / name
        self.tab = tab
        self.labs: list[Lab] = []

    def write(self, *sources: str) -> None:
        cells = [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
        kernelspec = {"name": "python3", "display_name": PYTHON, "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), self.path)

    async def open(self) -> Lab:
        """In the tab that all tests share; if this notebook has it already, in a new one."""
        lab = self.tab if not self.labs else Lab(await self.tab.page.context.new_page(), self.server.url)
        self.labs.append(lab)
        if not await lab.launcher.is_visible():
            await lab.load()
        await self.show(lab)
        await lab.idle()
        return lab

    async def show(self, lab: Lab) -> None:
        await lab.page.evaluate("path => jupyterapp.commands.execute('docmanager:open', {path})", self.name)
        await lab.cells.first.wait_for()

    async def reload(self, lab: Lab) -> None:
        """Load the page again, perhaps in the middle of a cell."""
        await lab.load()
        await self.show(lab)
        await lab.connected()

    async def until_saved(self, good: Callable[[list[Any]], bool]) -> list[Any]:
        """The cells of the file, once they are as they should be."""

        def saved() -> Any | None:
            notebook = self._read()
            return notebook if notebook is not None and good(notebook["cells"]) else None

        notebook = await until(saved, SAVED_TIMEOUT_S, every_s=0.1)
        nbformat.validate(nbformat.from_dict(notebook))
        return list(notebook["cells"])

    def _read(self) -> Any | None:
        """None while it is being written: the contents plugin does not write files at once."""
        try:
            return json.loads(self.path.read_text())
        except ValueError:
            return None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(server: Server, context: BrowserContext) -> Lab:
    return Lab(await context.new_page(), server.url)


@pytest_asyncio.fixture(loop_scope="module")
async def notebook(server: Server, tab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Notebook]:
    """Nothing may go wrong with our API in the test."""
    tab.problems.clear()
    tab.reconnects = tab.restarts = 0
    notebook = Notebook(server, tab, f"{request.node.name[5:45]}.ipynb")
    failed_before = request.session.testsfailed
    yield notebook
    failed = request.session.testsfailed > failed_before
    if failed:
        print_log(server)
    for lab in notebook.labs:
        if lab is not tab:
            await lab.page.close()
        elif failed or not await lab.page.locator("#main").count():
            await lab.page.goto("about:blank")
        else:
            await lab.close_tabs()
        await lab.delete_sessions()
        lab.check()


async def press(lab: Lab, number: int) -> Locator:
    """Execute a cell; returns it at once."""
    cell = lab.cells.nth(number)
    await cell.locator(".cm-content").click()
    await lab.page.keyboard.press("Control+Enter")
    return cell


@contextlib.asynccontextmanager
async def saved_by_the_page(lab: Lab) -> AsyncIterator[None]:
    """What is done here has the notebook in front saved, for all that the page knows."""
    # Until the command has ended, too: JupyterLab does nothing when it is given once more before that.
    saving = lab.page.evaluate(
        """() => new Promise(resolve => {
          let last = "";
          jupyterapp.shell.currentWidget.context.saveState.connect((_, state) => { last = state; });
          jupyterapp.commands.commandExecuted.connect((_, {id, result}) => {
            if (id === "docmanager:save") {
              result.then(() => resolve(last), error => resolve(String(error)));
            }
          });
          window.listening = true;
        })"""
    )
    task = asyncio.create_task(saving)
    await lab.page.wait_for_function("window.listening")
    yield
    async with asyncio.timeout(SAVED_TIMEOUT_S):
        assert await task == "completed"
    await lab.page.evaluate("window.listening = false")


async def run_all(lab: Lab) -> None:
    await lab.menu("Run", "Run All Cells")


async def expect_running(cell: Locator) -> None:
    await expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")


def text_of(cell: Any) -> str:
    """What a saved cell printed."""
    return "".join("".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream")


async def text_in_page(lab: Lab, number: int) -> str:
    """What a cell printed, as the page has it: it draws only the first lines."""
    model = f"jupyterapp.shell.currentWidget.content.model.cells.get({number}).outputs.toJSON()"
    found: list[Any] = await lab.page.evaluate(model)
    return "".join("".join(one["text"]) for one in found if one["output_type"] == "stream")


async def test_cells_run_on_the_server_and_are_shown(notebook: Notebook) -> None:
    notebook.write("print('hello')\n6 * 7", "import sys; print('wrong', file=sys.stderr)", "x = 1")
    lab = await notebook.open()
    async with lab.page.expect_request(lambda request: request.url.split("?")[0].endswith("/execute")):
        cell = await press(lab, 0)
    await expect(outputs(cell)).to_have_text(["hello\n", "42"])
    await expect_ended(cell)
    await run_all(lab)
    for number, count in enumerate((2, 3, 4)):
        await expect(lab.cells.nth(number).locator(".jp-InputPrompt")).to_have_text(f"[{count}]:")
    await expect(outputs(lab.cells.nth(1))).to_have_text("wrong\n")
    saved = await notebook.until_saved(lambda cells: cells[2]["execution_count"] == 4)
    assert [cell["execution_count"] for cell in saved] == [2, 3, 4]
    assert text_of(saved[0]) == "hello\n"


async def test_two_thousand_lines_are_shown_and_saved(notebook: Notebook) -> None:
    notebook.write("for i in range(2000): print('line', i)")
    lab = await notebook.open()
    await expect_ended(await press(lab, 0))
    lines = "".join(f"line {i}\n" for i in range(2000))
    assert await text_in_page(lab, 0) == lines
    [cell] = await notebook.until_saved(lambda cells: text_of(cells[0]) == lines)
    assert len(cell["outputs"]) == 1


async def test_a_display_and_then_a_print_are_both_shown(notebook: Notebook) -> None:
    notebook.write(
        "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))\nprint('after')\nprint('more')"
    )
    lab = await notebook.open()
    cell = await press(lab, 0)
    await expect(outputs(cell)).to_have_text(["bold", "after\nmore\n"])
    await expect_ended(cell)


async def test_the_page_of_the_user_who_runs_a_cell_trusts_what_it_puts_out(notebook: Notebook) -> None:
    """The server does not: what is run by others, or by a program, is for nobody's page to execute."""
    code = "from IPython.display import HTML, display\ndisplay(HTML('<script>window.ran = true</script>shown'))"
    notebook.write(code, code)
    lab = await notebook.open()
    await expect_ended(await press(lab, 0))
    await lab.page.wait_for_function("window.ran")  # JupyterLab writes the page's title itself
    trusted = "jupyterapp.shell.currentWidget.content.widgets.slice(0, 2).map(one => one.model.trusted)"
    assert await lab.page.evaluate(trusted) == [True, False]


async def test_a_display_is_updated_by_another_cell(notebook: Notebook) -> None:
    notebook.write(
        "from IPython.display import HTML, display\nhandle = display(HTML('old'), display_id=True)\nprint('after')",
        "handle.update(HTML('new'))",
    )
    lab = await notebook.open()
    await run_all(lab)
    await expect_ended(lab.cells.nth(1))
    await expect(outputs(lab.cells.nth(0))).to_have_text(["new", "after\n"])


async def test_clear_output_shows_only_the_last(notebook: Notebook) -> None:
    notebook.write(
        "from IPython.display import clear_output\nfor i in range(50):\n"
        "    clear_output(wait=True)\n    print('step', i)"
    )
    lab = await notebook.open()
    cell = await press(lab, 0)
    await expect_ended(cell)
    await expect(outputs(cell)).to_have_text(["step 49\n"])


async def test_progress_that_overwrites_its_line_is_shown_as_one_line(notebook: Notebook) -> None:
    notebook.write(
        "import time\nfor i in range(101):\n    print(f'\\r{i:3} %', end='', flush=True)\n"
        "    time.sleep(0.005)\nprint(' done')"
    )
    lab = await notebook.open()
    cell = await press(lab, 0)
    await expect_ended(cell)
    await expect(outputs(cell)).to_have_text(["100 % done\n"])


async def test_an_error_frees_the_cells_that_wait_behind_it(notebook: Notebook) -> None:
    notebook.write("print('first')", "1 / 0", "print('never')", "print('never, either')")
    lab = await notebook.open()
    await run_all(lab)
    await expect(outputs(lab.cells.nth(1))).to_contain_text("ZeroDivisionError")
    for number in (2, 3):
        await expect_not_run(lab.cells.nth(number))
        await expect(outputs(lab.cells.nth(number))).to_have_count(0)
    await expect_ended(await press(lab, 2))


async def test_input_is_answered_in_its_box(extension: None, notebook: Notebook) -> None:
    notebook.write("name = input('Who? ')\nprint('hello ' + name)")
    lab = await notebook.open()
    cell = await press(lab, 0)
    box = cell.locator(".jp-Stdin-input")
    await expect(cell.locator(".jp-Stdin-prompt")).to_contain_text("Who?")
    await box.fill("world")
    await box.press("Enter")
    await expect(outputs(cell)).to_have_text(["hello world\n"])
    await expect_ended(cell)
    await expect(box).to_have_count(0)


async def test_a_reloaded_page_can_still_answer(extension: None, notebook: Notebook) -> None:
    notebook.write("import getpass\nword = getpass.getpass('Secret? ')\nprint(len(word))")
    lab = await notebook.open()
    await expect(await press(lab, 0)).to_be_visible()
    await lab.cells.nth(0).locator(".jp-Stdin-input").wait_for()
    await notebook.reload(lab)
    cell = lab.cells.nth(0)
    box = cell.locator(".jp-Stdin-input")
    await expect(box).to_have_attribute("type", "password")
    await box.fill("12345")
    await box.press("Enter")
    await expect(outputs(cell)).to_have_text(["5\n"])
    await expect_ended(cell)


async def test_a_widget_is_shown_and_works_both_ways(notebook: Notebook) -> None:
    """Its comm goes over the WebSocket, though the cell was executed by the server."""
    notebook.write(
        "import ipywidgets\nslider = ipywidgets.IntSlider(value=7)\nslider", "slider.value = 3", "print(slider.value)"
    )
    lab = await notebook.open()
    readout = lab.cells.nth(0).locator(".widget-readout")
    await press(lab, 0)
    await expect(readout).to_have_text("7")
    await press(lab, 1)
    await expect(readout).to_have_text("3")
    await readout.fill("42")
    await readout.press("Enter")
    cell = await press(lab, 2)
    await expect(outputs(cell)).to_have_text(["42\n"])


async def test_a_restart_in_the_middle_frees_the_cell_which_runs_again(notebook: Notebook) -> None:
    sleep = "import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)"
    notebook.write(sleep, "print('never')", "print('again')")
    lab = await notebook.open()
    await run_all(lab)
    await expect(outputs(lab.cells.nth(0))).to_have_text("asleep\n")
    await expect_running(lab.cells.nth(1))
    await lab.restart()
    await expect_not_run(lab.cells.nth(0))
    await expect_not_run(lab.cells.nth(1))
    cell = await press(lab, 2)
    await expect(outputs(cell)).to_have_text(["again\n"])
    await expect(cell.locator(".jp-InputPrompt")).to_have_text("[1]:")


async def test_a_page_that_is_reloaded_in_the_middle_sees_every_line(notebook: Notebook) -> None:
    gate = notebook.server.root / "gate"
    notebook.write(
        "import time, pathlib\nfor i in range(300):\n    print('line', i, flush=True)\n    time.sleep(0.005)\n"
        f"    while i == 150 and not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)"
    )
    lab = await notebook.open()
    cell = await press(lab, 0)
    await expect(outputs(cell)).to_contain_text("line 3\n")
    await notebook.reload(lab)
    cell = lab.cells.nth(0)
    await expect_running(cell)
    gate.touch()
    await expect_ended(cell)
    assert await text_in_page(lab, 0) == "".join(f"line {i}\n" for i in range(300))


async def test_two_browsers_see_the_same(notebook: Notebook) -> None:
    notebook.write("for i in range(500): print(i)", "print('from the other')")
    one, other = await notebook.open(), await notebook.open()
    await press(one, 0)
    await press(other, 1)
    for lab in (one, other):
        await expect_ended(lab.cells.nth(1))
        await expect(outputs(lab.cells.nth(1))).to_have_text(["from the other\n"])
        assert await text_in_page(lab, 0) == "".join(f"{i}\n" for i in range(500))


async def test_all_outputs_are_in_the_file_though_every_browser_was_closed(notebook: Notebook) -> None:
    notebook.write(
        "import time\nfor i in range(200):\n    print('line', i, flush=True)\n    time.sleep(0.02)", "print('second')"
    )
    lab = await notebook.open()
    await run_all(lab)
    await expect(outputs(lab.cells.nth(0))).to_contain_text("line 3\n")
    await lab.page.goto("about:blank")
    first, second = await notebook.until_saved(lambda cells: cells[1]["execution_count"] == 2)
    assert text_of(first) == "".join(f"line {i}\n" for i in range(200))
    assert text_of(second) == "second\n"
    assert re.match(r"\d{4}-", first["metadata"]["execution"]["iopub.status.idle"])


async def test_ctrl_s_saves_at_once_and_asks_nothing(notebook: Notebook) -> None:
    """After edits and after cells that the server ran, whatever it has saved by itself meanwhile."""
    notebook.write("x = 1", "print(x)")
    lab = await notebook.open()
    for number in range(12):
        await lab.cells.nth(0).locator(".cm-content").click()
        await lab.page.keyboard.press("Control+End")
        await lab.page.keyboard.insert_text(f"\n# {number}")
        if number % 2:
            await expect_ended(await press(lab, 1))
        if number % 3 == 2:
            last = f"# {number}"
            await notebook.until_saved(lambda cells, last=last: last in "".join(cells[0]["source"]))  # type: ignore[misc]
        async with saved_by_the_page(lab):
            await lab.page.keyboard.press("Control+s")
        text = notebook.path.read_text()
        assert f"# {number}" in text
    await expect(lab.dialog).to_have_count(0)
    assert text == nbformat.writes(nbformat.reads(text, as_version=4)) + "\n"


async def test_ctrl_s_asks_nothing_of_a_page_that_has_not_learned_of_the_last_save(notebook: Notebook) -> None:
    """As on a busy machine. The page is made to know the file of an hour ago."""
    notebook.write("x = 1")
    lab = await notebook.open()
    await expect_ended(await press(lab, 0))
    await notebook.until_saved(lambda cells: cells[0]["execution_count"] == 1)
    hash_ = sha256(notebook.path.read_bytes()).hexdigest()
    await lab.page.wait_for_function(f"{CONTENTS_MODEL}.hash === '{hash_}'")
    before = {"hash": sha256(b"of before").hexdigest(), "last_modified": "2020-01-01T00:00:00Z"}
    await lab.page.evaluate(f"before => Object.assign({CONTENTS_MODEL}, before)", before)
    await lab.cells.nth(0).locator(".cm-content").click()
    await lab.page.keyboard.insert_text("# more\n")
    async with saved_by_the_page(lab):
        await lab.page.keyboard.press("Control+s")
    await expect(lab.dialog).to_have_count(0)
    assert "# more" in notebook.path.read_text()


async def test_a_notebook_that_is_only_looked_at_stays_as_it_is(notebook: Notebook) -> None:
    notebook.write("x = 1")
    lab = await notebook.open()
    await expect_ended(await press(lab, 0))
    await notebook.until_saved(lambda cells: cells[0]["execution_count"] == 1)
    book = json.loads(notebook.path.read_text())
    assert "version" in book["metadata"]["language_info"]  # which the page adds to a notebook that has none
    looked_at = notebook.path.with_name("looked_at.ipynb")
    looked_at.write_text(json.dumps(book, indent=4, sort_keys=True))
    before = (looked_at.read_bytes(), looked_at.stat().st_mtime_ns)
    await lab.page.evaluate("jupyterapp.commands.execute('docmanager:open', {path: 'looked_at.ipynb'})")
    await lab.idle()
    await expect(lab.cells).to_have_count(1)
    await notebook.show(lab)
    await expect_ended(await press(lab, 0))
    await notebook.until_saved(lambda cells: cells[0]["execution_count"] == 2)  # the other would be saved by now
    assert (looked_at.read_bytes(), looked_at.stat().st_mtime_ns) == before


async def test_what_another_program_writes_is_shown_and_saved_without_a_question(notebook: Notebook) -> None:
    notebook.write("x = 1")
    lab = await notebook.open()
    await expect_ended(await press(lab, 0))
    await notebook.until_saved(lambda cells: cells[0]["execution_count"] == 1)
    notebook.write("y = 'from elsewhere'")
    await expect(lab.cells.nth(0).locator(".cm-content")).to_have_text("y = 'from elsewhere'")
    hash_ = sha256(notebook.path.read_bytes()).hexdigest()
    await lab.page.wait_for_function(f"{CONTENTS_MODEL}.hash === '{hash_}'")
    async with saved_by_the_page(lab):
        await lab.page.keyboard.press("Control+s")
    await expect(lab.dialog).to_have_count(0)
    assert "from elsewhere" in notebook.path.read_text()


async def test_a_notebook_that_is_renamed_while_it_is_open_is_saved_by_its_new_name(notebook: Notebook) -> None:
    notebook.write("x = 1")
    lab = await notebook.open()
    old, new = notebook.path, notebook.path.with_name("renamed.ipynb")
    rename = "names => jupyterapp.serviceManager.contents.rename(...names)"
    await lab.page.evaluate(rename, [old.name, new.name])
    await lab.page.wait_for_function(f"jupyterapp.shell.currentWidget.context.path === '{new.name}'")
    notebook.path = new
    await expect_ended(await press(lab, 0))
    await notebook.until_saved(lambda cells: cells[0]["execution_count"] == 1)
    await lab.cells.nth(0).locator(".cm-content").click()
    await lab.page.keyboard.insert_text("# more\n")
    async with saved_by_the_page(lab):
        await lab.page.keyboard.press("Control+s")
    assert "# more" in new.read_text()
    assert not old.exists()
    await expect(lab.dialog).to_have_count(0)
