"""The tests of JupyterLab's notebooks with Notebook 7, `jupyter notebook`, whose kernels are ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from ..support.notebook7 import Notebook7
from ..support.servers import TOKEN
from ..support.stock import StockServer, begin_stock_pages
from . import test_jupyterlab, test_jupyterlab_on_stock
from .test_jupyterlab import lab as lab
from .test_jupyterlab import pytestmark as pytestmark
from .test_jupyterlab import replace_kernelspecs

test_what_a_cell_prints_and_returns_is_shown = test_jupyterlab.test_what_a_cell_prints_and_returns_is_shown
test_a_plot_is_shown = test_jupyterlab.test_a_plot_is_shown_in_the_picture_for_the_documentation
test_input_is_answered_in_its_box = test_jupyterlab.test_input_is_answered_in_its_box
test_an_error_shows_its_traceback = test_jupyterlab.test_an_error_shows_its_traceback_and_the_next_cell_runs
test_a_hundred_thousand_lines_arrive_whole = test_jupyterlab.test_a_hundred_thousand_lines_arrive_whole
test_interrupt_ends_the_cell_that_runs = test_jupyterlab.test_interrupt_ends_the_cell_that_runs
test_restart_forgets_variables = test_jupyterlab.test_restart_forgets_variables_and_keeps_the_kernel_id
test_a_kernel_that_dies_at_start_says_why = test_jupyterlab.test_a_kernel_that_dies_at_start_says_why
test_a_killed_kernel_is_reported_and_restarted = test_jupyterlab.test_a_killed_kernel_is_reported_and_restarted
test_widgets = test_jupyterlab_on_stock.test_widgets_have_buffers_and_answer_to_the_mouse
test_the_debugger = test_jupyterlab_on_stock.test_the_debugger_stops_at_a_breakpoint_shows_variables_and_steps


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockServer]:
    """`jupyter notebook` with IPython kernels."""
    server = begin_stock_pages(tmp_path_factory.mktemp("notebook"), "jupyter-notebook", TOKEN)
    replace_kernelspecs(server.share)
    server.wait_ready(240)  # it imports much
    assert "runs the kernels" in server.log.read_text()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(server: StockServer, context: BrowserContext) -> Notebook7:
    return Notebook7(await context.new_page(), server.url)


async def test_a_notebook_is_made_from_the_list_of_files(lab: Notebook7) -> None:
    await lab.load()
    await lab.page.get_by_text("New", exact=True).click()
    async with lab.page.expect_popup() as opened:
        await lab.page.locator(".lm-Menu-itemLabel").get_by_text("Python 3 (ipykernel)", exact=True).click()
    made = Notebook7(await opened.value, lab.url)
    await made.idle()
    assert await made.run("6 * 7") == "42"
    made.check()
    await made.page.close()
