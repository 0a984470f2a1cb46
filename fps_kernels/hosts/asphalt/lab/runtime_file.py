"""Files with a token that are there as long as a server is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from ....ledger import Ledger, print_of
from ....serving.access.secret_file import write_private

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def runtime_file(name: str, data: bytes, *, without: str) -> Iterator[Path | None]:
    """A file in Jupyter's runtime folder that only the user can read, as long as the context lasts; gives its path.

    If the server is killed, the next one removes it. None if it cannot be written, with a warning that begins with
    what does not work `without` it.
    """
    path = Path(jupyter_runtime_dir()) / name
    ledger = Ledger(path.parent)
    try:
        ledger.add(path, print_of(data))
        write_private(path, data)
    except OSError as exc:
        ledger.close()
        logger.warning("%s: %s: %s", without, path, exc.strerror)
        yield None
        return
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        ledger.close()
