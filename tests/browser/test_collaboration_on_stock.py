"""`jupyter lab` with jupyter-collaboration, whose cells the server executes, in a real browser.

Needs Debian's chromium. The tests are those of our own server, as far as they are about the way from the page to the
document and back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from ..support.collaboration import begin_collaborating, collaboration_venv
from ..support.lab import browser_context
from ..support.servers import TOKEN
from ..support.stock import StockServer
from .test_collaboration import *  # noqa: F403
from .test_collaboration import (
    test_a_notebook_that_is_only_looked_at_stays_as_it_is,
    test_ctrl_s_saves_at_once_and_asks_nothing,
    test_what_another_program_writes_is_shown_and_saved_without_a_question,
)

# How files are saved and read again is jupyter-collaboration's own matter here.
del test_a_notebook_that_is_only_looked_at_stays_as_it_is
del test_ctrl_s_saves_at_once_and_asks_nothing
del test_what_another_program_writes_is_shown_and_saved_without_a_question

# With the installation of the venv.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1200)]  # type: ignore[assignment]


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockServer]:
    """With the options that the documentation names."""
    venv = collaboration_venv(tmp_path_factory)
    with begin_collaborating(venv, tmp_path_factory.mktemp("lab")) as begin:
        yield begin(
            f"--IdentityProvider.token={TOKEN}",
            "--YDocExtension.server_side_execution=True",
            "--LabApp.expose_app_in_browser=True",
            "--ServerApp.jpserver_extensions={}",
            open_to_all=False,
            program="jupyter-lab",
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(chromium: str) -> AsyncIterator[BrowserContext]:
    """A browser's window that shows JupyterLab as it is."""
    async with browser_context(chromium) as context:
        yield context
