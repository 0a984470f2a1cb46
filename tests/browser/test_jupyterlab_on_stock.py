"""The tests of JupyterLab with `jupyter lab`, whose kernels are ours, and what only stock pages are tried with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from ..support.lab import Lab, expect_ended, outputs
from ..support.servers import TOKEN
from ..support.stock import StockServer, begin_stock_pages
from ..support.waits import until
from .test_jupyterlab import *  # noqa: F403
from .test_jupyterlab import pytestmark as pytestmark
from .test_jupyterlab import replace_kernelspecs


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockServer]:
    """`jupyter lab` with IPython kernels."""
    server = begin_stock_pages(tmp_path_factory.mktemp("lab"), "jupyter-lab", TOKEN)
    replace_kernelspecs(server.share)
    server.wait_ready(240)  # it imports much
    assert "runs the kernels" in server.log.read_text()
    yield server
    server.stop()


async def test_widgets_have_buffers_and_answer_to_the_mouse(lab: Lab) -> None:
    cell = await lab.start("""
import io
import ipywidgets
import matplotlib.image
import numpy
file = io.BytesIO()
matplotlib.image.imsave(file, numpy.zeros((30, 40, 3)))
heard = []
slider = ipywidgets.IntSlider(value=5, max=9)
slider.observe(lambda change: heard.append(change["new"]), "value")
ipywidgets.VBox([ipywidgets.Image(value=file.getvalue(), layout={"width": "40px"}), slider])
""")
    picture = cell.locator("img.widget-image")
    await picture.wait_for()
    await expect(picture).to_have_js_property("naturalWidth", 40)
    track = cell.locator(".noUi-target")
    box = await track.bounding_box()
    assert box is not None
    await track.click(position={"x": box["width"] - 1, "y": box["height"] / 2})
    await expect(cell.locator(".widget-readout")).to_have_text("9")
    assert await lab.run("heard") == "[9]"
    await lab.run("slider.value = 1")
    await expect(cell.locator(".widget-readout")).to_have_text("1")


async def complete(lab: Lab) -> Locator:
    """Press Tab in the last cell; returns the list of completions."""
    await lab.cells.last.locator(".cm-content").click()
    await lab.page.keyboard.press("End")
    await lab.page.keyboard.press("Tab")
    return lab.page.locator(".jp-Completer-item")


async def test_a_completion_that_is_asked_of_a_busy_kernel_stops_nothing(lab: Lab) -> None:
    await lab.run("completion_one = completion_two = 1")
    cell = await lab.run_forever()
    await lab.cells.last.locator(".cm-content").click()
    await lab.page.keyboard.insert_text("completion_")
    await complete(lab)
    await lab.shows("Busy")
    await lab.menu("Kernel", "Interrupt Kernel")
    await expect(outputs(cell).last).to_contain_text("KeyboardInterrupt")
    await lab.idle()
    items = await complete(lab)
    await expect(items.filter(has_text="completion_two")).to_be_visible()
    await lab.page.keyboard.press("Escape")
    await lab.page.keyboard.insert_text("one")
    assert await lab.run(" + 1") == "2"


COUNT = """
import os, time
n = 0
while not os.path.exists({go!r}):
    n += 1; print(n); time.sleep(0.02)
print("end")
"""


async def test_a_page_that_connects_again_while_a_cell_runs_hears_the_rest_in_order(lab: Lab, tmp_path: Path) -> None:
    go = tmp_path / "go"
    cell = await lab.start(COUNT.format(go=str(go)))

    async def last_number() -> int:
        return int((await outputs(cell).inner_text()).split()[-1])

    async def hears(number: int) -> bool:
        return await last_number() > number

    await expect(outputs(cell)).to_contain_text("3\n")
    for _ in range(3):
        lab.restarts += 1  # JupyterLab says that it lost its WebSocket, as in a restart
        async with lab.page.expect_websocket():
            await lab.menu("Kernel", "Reconnect to Kernel")
        last = await last_number()
        await until(partial(hears, last + 20))
    # JupyterLab closes its WebSocket and reads no more: numbers that were on their way are lost, none after that.
    last = await last_number()
    go.touch()
    await expect(outputs(cell)).to_contain_text("end")
    await expect_ended(cell)
    *words, end = (await outputs(cell).inner_text()).split()
    numbers = [int(word) for word in words]
    assert numbers == sorted(set(numbers))
    assert numbers[numbers.index(last) :] == list(range(last, numbers[-1] + 1))
    assert end == "end"


async def test_a_cell_that_runs_goes_on_while_its_page_is_loaded_again(lab: Lab, tmp_path: Path) -> None:
    go = tmp_path / "go"
    await lab.save_as("Long.ipynb")
    cell = await lab.start(COUNT.format(go=str(go)))
    await expect(outputs(cell)).to_contain_text("3\n")
    await lab.save("Long.ipynb")
    await lab.page.reload()
    # A page that was loaded anew does not know which cell runs, whatever the server, but that one does.
    await lab.shows("Busy")
    await expect(lab.page.locator(".jp-Notebook .jp-OutputArea-output").first).to_contain_text("3\n")
    last = await lab.start("print('counted', n > 3)")
    go.touch()
    await expect(outputs(last)).to_have_text("counted True\n")
    await lab.idle()


async def test_the_debugger_stops_at_a_breakpoint_shows_variables_and_steps(lab: Lab) -> None:
    button, stack = lab.page.locator(".jp-DebuggerBugButton"), lab.page.locator(".jp-DebuggerCallstack-body")
    variables = lab.page.locator(".jp-debuggerVariables-local")
    cell = lab.cells.last
    gutter = cell.locator("div.cm-breakpoint-gutter")

    async def is_on() -> bool:
        """Whether the debugger is on; else its button is pressed, which a page ignores until it knows the kernel."""
        if not await gutter.is_visible():
            await button.click()
        return await gutter.is_visible()

    await until(is_on, every_s=5)
    await cell.locator(".cm-content").click()
    await lab.page.keyboard.insert_text("def double(n):\n    m = n + n\n    return m\n\ndouble(21)")
    await gutter.locator(".cm-gutterElement").nth(2).click()  # the first is none of a line
    await expect(lab.page.locator(".jp-DebuggerBreakpoint")).to_have_count(1)
    await cell.locator(".cm-content").click()
    await lab.page.keyboard.press("Shift+Enter")
    cell = lab.cells.first
    await expect(stack).to_contain_text(re.compile("double.*:2"))
    await expect(variables).to_contain_text(re.compile(r"\bn\W*21"))
    await lab.page.get_by_role("button", name="Next", exact=True).click()
    await expect(stack).to_contain_text(re.compile("double.*:3"))
    await expect(variables).to_contain_text(re.compile(r"\bm\W*42"))
    await lab.page.get_by_role("button", name="Continue", exact=True).click()
    await expect(outputs(cell)).to_have_text("42")
    await button.click()
    await lab.idle()
