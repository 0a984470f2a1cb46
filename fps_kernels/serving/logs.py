"""The log of our commands, on stderr, without the tokens that URLs may contain."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

FORMAT = "[%(name)s] %(levelname)s %(message)s"


class WithoutQuery(logging.Filter):
    """A filter that cuts the query off each path that uvicorn logs: it may contain a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and arg.startswith("/") else arg for arg in record.args
            )
        return True


def configure(level: int | str) -> None:
    """Log to stderr from this level on."""
    logging.basicConfig(level=level, format=FORMAT)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(WithoutQuery())


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Log only this package's errors meanwhile, as a start that fails says why in its last line; with --debug, all."""
    package = logging.getLogger("fps_kernels")
    if not package.isEnabledFor(logging.DEBUG):
        package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(logging.NOTSET)


def hide(*secrets: str) -> None:
    """Never show these values in the log from now on."""
