"""JupyterLab in a real browser, used as a person uses it, with real IPython kernels.

Needs Debian's chromium. To renew the picture of the documentation:
JUPYTERLAB_SCREENSHOT=docs/images/jupyterlab.png pytest tests/browser/test_jupyterlab.py -k picture
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from ..support.kernelspecs import add_kernelspec
from ..support.lab import PYTHON, Lab, expect_ended, expect_not_run, outputs, print_log
from ..support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE_MAX_BYTES = 200 * 1024


def replace_kernelspecs(share: Path) -> None:
    """Have two kernels besides Python's own, one of which dies at once; the tiny kernels are no sight for a user."""
    shutil.rmtree(share / "kernels")
    add_kernelspec(
        share,
        "other",
        {
            "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Other Python",
            "language": "python",
            "env": {"WHICH": "other"},
        },
    )
    add_kernelspec(
        share,
        "broken",
        {
            "argv": ["python", "-c", "raise SystemExit('no licence')", "{connection_file}"],
            "display_name": "Broken",
            "language": "python",
        },
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`jupyverse` with JupyterLab and IPython kernels."""
    server = Server(tmp_path_factory.mktemp("lab"), full=True)
    replace_kernelspecs(server.share)
    server.wait_ready()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(server: Server, context: BrowserContext) -> Lab:
    """One for all tests: loading JupyterLab takes three seconds."""
    return Lab(await context.new_page(), server.url)


@pytest_asyncio.fixture(loop_scope="module")
async def lab(tab: Lab, server: Server, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """JupyterLab with a new notebook whose kernel is ready. Nothing may go wrong with our API in the test."""
    tab.problems.clear()
    tab.reconnects = tab.restarts = 0
    await tab.prepare()
    await tab.new_notebook()
    failed_before = request.session.testsfailed
    yield tab
    await tab.page.screenshot(path=tmp_path / "end.png")
    if request.session.testsfailed > failed_before:
        print_log(server)
        await tab.page.goto("about:blank")
    else:
        await tab.close_tabs()
    await tab.delete_sessions()
    tab.check()


# --- cells -----------------------------------------------------------------------------------------


async def test_what_a_cell_prints_and_returns_is_shown(lab: Lab) -> None:
    cell = await lab.start("print('hello')\n6 * 7")
    await expect(outputs(cell)).to_have_text(["hello\n", "42"])


async def test_a_plot_is_shown_in_the_picture_for_the_documentation(lab: Lab, tmp_path: Path) -> None:
    await lab.save_as("Waves.ipynb")
    await lab.run("import sys\n\nprint('Hello from Python', sys.version.split()[0])")
    cell = await lab.start(
        "import matplotlib.pyplot as plt\nimport numpy as np\n\n"
        "x = np.linspace(0, 10, 500)\nplt.figure(figsize=(8, 3.5))\nfor n in range(1, 6):\n"
        "    plt.plot(x, np.sin(n * x / 2) / n, label=f'n = {n}')\nplt.legend();"
    )
    plot = outputs(cell).locator("img")
    await plot.wait_for()
    assert await plot.evaluate("image => image.naturalWidth") > 400
    await lab.idle()
    picture = await lab.page.screenshot(path=os.environ.get("JUPYTERLAB_SCREENSHOT", tmp_path / "jupyterlab.png"))
    assert len(picture) < PICTURE_MAX_BYTES


async def test_input_is_answered_in_its_box(lab: Lab) -> None:
    cell = await lab.start("print('hello ' + input('Who? '))")
    box = cell.locator(".jp-Stdin-input")
    await box.fill("world")
    await box.press("Enter")
    await expect(outputs(cell).last).to_have_text("hello world\n")
    await expect_ended(cell)


async def test_an_error_shows_its_traceback_and_the_next_cell_runs(lab: Lab) -> None:
    cell = await lab.start("def half(n):\n    return n / 0\n\nhalf(1)")
    await expect(outputs(cell)).to_contain_text("half(1)")
    await expect(outputs(cell)).to_contain_text("ZeroDivisionError: division by zero")
    assert await lab.run("1 + 1") == "2"


async def test_a_hundred_thousand_lines_arrive_whole(lab: Lab) -> None:
    cell = await lab.start("for i in range(100_000): print(i)")
    await expect_ended(cell)
    # JupyterLab draws only the first lines; its model has all.
    text = await lab.page.evaluate(
        "jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.get(0).toJSON().text"
    )
    assert "".join(text).split() == [str(i) for i in range(100_000)]


# --- comms: what widgets live on ---------------------------------------------------------------------


async def test_a_comm_of_the_kernel_reaches_the_page_with_buffers_both_ways(lab: Lab) -> None:
    await lab.page.evaluate("""() => {
      window.heard = [];
      const bytes = message => message.buffers.map(buffer => [...new Uint8Array(buffer.buffer ?? buffer)]);
      jupyterapp.shell.currentWidget.sessionContext.session.kernel.registerCommTarget("page", (comm, open) => {
        heard.push([open.content.data, bytes(open)]);
        comm.onMsg = message => {
          heard.push([message.content.data, bytes(message)]);
          comm.send({answer: message.content.data.n + 1}, {}, [new Uint8Array([7, 0, 255]).buffer]);
        };
        comm.onClose = () => { heard.push("closed"); };
      });
    }""")
    await lab.run("""
from comm import create_comm
comm, heard = create_comm(target_name="page", data={"from": "kernel"}, buffers=[b"open"]), []
comm.on_msg(lambda message: heard.append((message["content"]["data"], [bytes(b) for b in message["buffers"]])))
comm.send({"n": 1}, buffers=[b"", bytes(range(256))])
""")
    await lab.page.wait_for_function("heard.length == 2")
    # The page has sent its answer before it sends this cell, on the same channel.
    assert await lab.run("heard") == r"[({'answer': 2}, [b'\x07\x00\xff'])]"
    await lab.run("comm.close()")
    await lab.page.wait_for_function("heard.length == 3")
    opened, message, closed = await lab.page.evaluate("heard")
    assert opened == [{"from": "kernel"}, [list(b"open")]]
    assert message == [{"n": 1}, [[], list(range(256))]]
    assert closed == "closed"


async def test_a_comm_of_the_page_reaches_the_kernel(lab: Lab) -> None:
    await lab.run("""
from comm import get_comm_manager
def opened(comm, message):
    comm.on_msg(lambda m: comm.send({"twice": 2 * m["content"]["data"]["n"]}, buffers=m["buffers"][::-1]))
get_comm_manager().register_target("kernel", opened)
""")
    data, sizes = await lab.page.evaluate("""async () => {
      const comm = jupyterapp.shell.currentWidget.sessionContext.session.kernel.createComm("kernel");
      const answer = new Promise(resolve => { comm.onMsg = resolve; });
      comm.open({});
      comm.send({n: 4}, {}, [new Uint8Array([1, 2]).buffer, new Uint8Array(100000).buffer]);
      const {content, buffers} = await answer;
      return [content.data, buffers.map(buffer => buffer.byteLength)];
    }""")
    assert data == {"twice": 8}
    assert sizes == [100_000, 2]


# --- the kernel's life -------------------------------------------------------------------------------


async def test_interrupt_ends_the_cell_that_runs(lab: Lab) -> None:
    await lab.run("x = 5")
    cell = await lab.run_forever()
    await lab.shows("Busy")
    await lab.menu("Kernel", "Interrupt Kernel")
    await expect(outputs(cell).last).to_contain_text("KeyboardInterrupt")
    await lab.idle()
    assert await lab.run("x") == "5"


async def test_restart_forgets_variables_and_keeps_the_kernel_id(lab: Lab) -> None:
    [before] = await lab.get("/api/sessions")
    await lab.run("x = 5")
    await lab.restart()
    assert "NameError" in await lab.run("x")
    [after] = await lab.get("/api/sessions")
    assert after["kernel"]["id"] == before["kernel"]["id"]


async def test_restart_while_a_cell_runs_and_another_waits(lab: Lab) -> None:
    running = await lab.run_forever()
    waiting = await lab.start("print('never')")
    await lab.restart()
    await expect_not_run(running)
    await expect_not_run(waiting)
    assert await lab.run("1 + 1") == "2"
    await expect(outputs(waiting)).to_have_count(0)


async def test_restart_and_run_all_cells(lab: Lab) -> None:
    await lab.run("import os; x = [os.getpid()]")
    before = await lab.run("x")
    lab.restarts += 1
    await lab.menu("Kernel", "Restart Kernel and Run All Cells…")
    await lab.answer("Restart Kernel?", "Restart")
    await expect(outputs(lab.cells.nth(1))).to_have_text(re.compile(r"\[\d+\]"))
    await expect(outputs(lab.cells.nth(1))).not_to_have_text(before)
    await expect_ended(lab.cells.nth(1))
    await lab.idle()


async def test_another_kernel_is_chosen(lab: Lab) -> None:
    [before] = await lab.get("/api/sessions")
    await lab.change_kernel("Other Python")
    await lab.idle("Other Python")
    assert await lab.run("import os; os.environ['WHICH']") == "'other'"
    [after] = await lab.get("/api/sessions")
    assert (after["id"], after["kernel"]["name"]) == (before["id"], "other")
    kernels = await lab.get("/api/kernels")
    assert [kernel["id"] for kernel in kernels] == [after["kernel"]["id"]]  # the one before is gone


async def test_a_kernel_that_dies_at_start_says_why(lab: Lab) -> None:
    lab.restarts += 1
    await lab.change_kernel("Broken")
    await expect(lab.dialog).to_contain_text("exited with code 1: no licence")
    await lab.answer("Error Starting Kernel", "Ok")
    # JupyterLab asks for the reason when its WebSocket is refused.
    assert any("Unexpected response code: 500" in problem for problem in lab.problems)
    lab.problems.clear()
    await lab.change_kernel(PYTHON)
    await lab.idle()
    assert await lab.run("1 + 1") == "2"


async def test_a_killed_kernel_is_reported_and_restarted(lab: Lab) -> None:
    pid = int(await lab.run("import os; os.getpid()"))
    running = await lab.run_forever()
    lab.restarts += 1
    os.kill(pid, signal.SIGKILL)
    await expect(lab.dialog).to_contain_text("appears to have died. It will restart automatically.")
    await lab.answer("Kernel Restarting", "Ok")
    await lab.idle()
    await expect_not_run(running)
    await expect(outputs(running).last).to_contain_text("The kernel died: killed (SIGKILL)")
    assert int(await lab.run("import os; os.getpid()")) != pid


async def test_a_kernel_is_shut_down_and_another_started(lab: Lab) -> None:
    await lab.run("x = 5")
    await lab.menu("Kernel", "Shut Down Kernel")
    await lab.shows_no_kernel()
    assert await lab.get("/api/kernels") == []
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.idle()
    assert "NameError" in await lab.run("x")


# --- pages -------------------------------------------------------------------------------------------


async def test_a_renamed_and_reloaded_notebook_goes_on_with_its_kernel(lab: Lab) -> None:
    await lab.run("x = 5")
    [before] = await lab.get("/api/sessions")
    await lab.save_as("Renamed.ipynb")
    await lab.page.reload()
    await lab.open_file("Renamed.ipynb")
    assert await lab.run("x") == "5"
    [after] = await lab.get("/api/sessions")
    assert (after["path"], after["kernel"]["id"]) == ("Renamed.ipynb", before["kernel"]["id"])


async def test_two_pages_share_the_kernel_of_a_notebook(lab: Lab, context: BrowserContext) -> None:
    await lab.run("x = 5")
    await lab.save_as("Shared.ipynb")
    other = type(lab)(await context.new_page(), lab.url)
    await other.prepare()
    await other.open_file("Shared.ipynb")
    cell = await other.start("x = int(input('x? '))")
    await cell.locator(".jp-Stdin-input").wait_for()
    await lab.page.bring_to_front()  # a page behind another one may not be drawn anew
    await lab.shows("Busy")
    await expect(lab.page.locator(".jp-Stdin-input")).to_have_count(0)
    await other.page.bring_to_front()
    await cell.locator(".jp-Stdin-input").fill("7")
    await cell.locator(".jp-Stdin-input").press("Enter")
    await expect_ended(cell)
    await lab.page.bring_to_front()
    await lab.idle()
    assert await lab.run("x") == "7"
    await other.page.bring_to_front()
    await other.restart()
    await lab.page.bring_to_front()
    assert "NameError" in await lab.run("x")
    other.check()
    await other.page.close()
