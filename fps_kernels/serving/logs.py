"""The log of the gateway, on stderr. Tokens in URLs are not for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

FORMAT = "[%(name)s] %(levelname)s %(message)s"


class WithoutQuery(logging.Filter):
    """Cuts the query off each path that uvicorn logs: a token may be in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and arg.startswith("/") else arg for arg in record.args
            )
        return True


def configure(level: int | str) -> None:
    logging.basicConfig(level=level, format=FORMAT)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(WithoutQuery())


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep the log of our own quiet: what makes a boot fail is one line, said at its end. With --debug, all is said."""
    package = logging.getLogger("fps_kernels")
    if not package.isEnabledFor(logging.DEBUG):
        package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(logging.NOTSET)
