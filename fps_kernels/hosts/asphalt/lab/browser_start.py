"""Opens JupyterLab in a browser, without its token on a command line that every user of the machine can read."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import webbrowser
from collections.abc import Iterator

from ....serving.access.login_page import step
from .runtime_file import runtime_file

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def opened_in_browser(url: str) -> Iterator[None]:
    """Open a URL by way of a file that only the user can read, which exists as long as the context lasts."""
    name = f"fps-kernels-{os.getpid()}-open.html"
    with runtime_file(name, step(url).encode(), without="Cannot open a browser") as path:  # it has a token in it
        if path is not None:
            # It may wait for the browser, which text browsers do until they are left.
            threading.Thread(target=_open, args=(path.as_uri(),), name="browser", daemon=True).start()
        yield


def _open(url: str) -> None:
    try:
        opened = webbrowser.open_new_tab(url)
    except (webbrowser.Error, OSError) as exc:
        logger.warning("Cannot open a browser: %s", exc)
    else:
        if not opened:
            logger.warning("Cannot open a browser: there is none")
