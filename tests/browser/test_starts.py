"""Shift+Enter while a notebook's kernel starts, in JupyterLab: no press is lost, and a start that fails says why."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from ..support.kernelspecs import add_kernelspec
from ..support.lab import PYTHON, Lab, expect_ended, outputs
from ..support.servers import Server, options

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("extension")]

WAITING = "Waiting Python"
FAILING = "Failing Python"
BROKEN = "Broken Python"
PRESSES = 4


class Gate:
    """What kernels of two kernelspecs wait for: they start, or fail, when it is open."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "open"

    def open(self) -> None:
        self.file.touch()

    def close(self) -> None:
        self.file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


def replace_kernelspecs(share: Path, gate: Gate) -> None:
    """Have the kernels of the gate, and one that fails at once, besides Python's own."""
    shutil.rmtree(share / "kernels")
    wait = f"until test -e {gate.file}; do sleep 0.1; done"
    for name, command in {
        WAITING: f"{wait}; exec python -m ipykernel_launcher -f $0",
        FAILING: f"{wait}; echo no licence >&2; exit 3",
        BROKEN: "echo no licence >&2; exit 3",
    }.items():
        add_kernelspec(
            share,
            name.split()[0].lower(),
            {"argv": ["sh", "-c", command, "{connection_file}"], "display_name": name, "language": "python"},
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("lab"), *options(prewarm=0), full=True)
    replace_kernelspecs(server.share, gate)
    server.wait_ready()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(server: Server, context: BrowserContext) -> Lab:
    return Lab(await context.new_page(), server.url)


@pytest_asyncio.fixture(loop_scope="module")
async def lab(tab: Lab, gate: Gate, tmp_path: Path) -> AsyncIterator[Lab]:
    """JupyterLab with its launcher, and with the gate closed."""
    gate.close()
    tab.problems.clear()
    await tab.prepare()
    yield tab
    await tab.page.screenshot(path=tmp_path / "end.png")
    gate.open()
    await tab.page.goto("about:blank")
    await tab.delete_sessions()


async def open_notebook(lab: Lab, kernel: str) -> None:
    """Make a notebook, and wait for nothing but its cell."""
    await lab.page.locator(".jp-LauncherCard[data-category=Notebook]").filter(has_text=kernel).click()
    await lab.cells.last.locator(".cm-content").wait_for()


async def explained(lab: Lab) -> None:
    """The dialog that JupyterLab has for a kernel that did not start says why."""
    await expect(lab.dialog).to_contain_text("exited with code 3: no licence")
    await lab.answer("Error Starting Kernel", "Ok")


async def test_no_press_is_lost_while_the_kernel_of_a_new_notebook_starts(lab: Lab) -> None:
    for number in range(PRESSES):
        await open_notebook(lab, PYTHON)
        cell = await lab.start(f"print('pressed {number}')")
        await expect(outputs(cell)).to_have_text(f"pressed {number}\n")
        await lab.close_tabs()
    lab.check()


async def test_all_that_is_pressed_before_a_slow_kernel_answers_runs_in_order(lab: Lab, gate: Gate) -> None:
    await open_notebook(lab, WAITING)
    cells = [await lab.start(code) for code in ("x = [1]", "x.append(2)", "print(x)")]
    await expect(cells[-1].locator(".jp-InputPrompt")).to_have_text("[*]:")
    gate.open()
    await expect(outputs(cells[-1])).to_have_text("[1, 2]\n")
    lab.check()


async def test_a_press_while_the_kernel_is_changed_runs_in_the_new_one(lab: Lab, gate: Gate) -> None:
    await open_notebook(lab, PYTHON)
    await lab.idle()
    await lab.run("old = True")
    await lab.change_kernel(WAITING)
    cell = await lab.start("print('old' in globals())")
    gate.open()
    await expect(outputs(cell)).to_have_text("False\n")
    lab.check()


async def test_an_interrupt_before_a_slow_kernel_answers_ends_the_cell_that_waits(lab: Lab, gate: Gate) -> None:
    await open_notebook(lab, WAITING)
    cell = await lab.start("print('never')")
    await expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    await lab.shows("Starting", WAITING)
    await lab.menu("Kernel", "Interrupt Kernel")
    await expect(outputs(cell)).to_contain_text("KeyboardInterrupt")
    gate.open()
    assert await lab.run("1 + 1") == "2"
    lab.check()


async def test_a_restart_before_a_slow_kernel_answers_starts_another_process(lab: Lab, gate: Gate) -> None:
    await open_notebook(lab, WAITING)
    await lab.shows("Starting", WAITING)
    lab.restarts += 1
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.answer("Restart Kernel?", "Restart")
    gate.open()
    cell = await lab.start("print('alive')")
    await expect(outputs(cell)).to_have_text("alive\n")


async def test_a_slow_start_that_fails_says_why_below_the_cell_and_in_a_dialog(lab: Lab, gate: Gate) -> None:
    await open_notebook(lab, FAILING)
    cell = await lab.start("print('never')")
    await expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    await lab.shows("Starting", FAILING)
    gate.open()
    await explained(lab)
    await expect(outputs(cell)).to_have_text(re.compile("DeadKernelError: .* exited with code 3: no licence"))
    [session] = await lab.get("/api/sessions")
    assert session["kernel"]["execution_state"] == "dead"
    assert session["kernel"]["reason"].endswith("exited with code 3: no licence")


async def test_a_start_that_fails_at_once_says_why_and_another_kernel_can_be_chosen(lab: Lab) -> None:
    await open_notebook(lab, BROKEN)
    await explained(lab)
    await lab.change_kernel(PYTHON)
    cell = await lab.start("print('alive')")
    await expect(outputs(cell)).to_have_text("alive\n")
    await expect_ended(cell)
