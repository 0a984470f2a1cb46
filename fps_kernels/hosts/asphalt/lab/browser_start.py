"""Opens JupyterLab in a browser, without its token on a command line that every user of the machine can read."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from ....ledger import Ledger, print_of
from ....serving.access.login_page import step
from ....serving.access.secret_file import write_private

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def opened_in_browser(url: str) -> Iterator[None]:
    """Open a URL by way of a file that only the user can read, which exists as long as the context lasts."""
    path = Path(jupyter_runtime_dir()) / f"fps-kernels-{os.getpid()}-open.html"
    page = step(url).encode()
    ledger = Ledger(path.parent)  # it has a token in it
    try:
        ledger.add(path, print_of(page))
        write_private(path, page)
    except OSError as exc:
        ledger.close()
        logger.warning("Cannot open a browser: %s: %s", path, exc.strerror)
        yield
        return
    # It may wait for the browser, which text browsers do until they are left.
    threading.Thread(target=_open, args=(path.as_uri(),), name="browser", daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        ledger.close()


def _open(url: str) -> None:
    try:
        opened = webbrowser.open_new_tab(url)
    except (webbrowser.Error, OSError) as exc:
        logger.warning("Cannot open a browser: %s", exc)
    else:
        if not opened:
            logger.warning("Cannot open a browser: there is none")
