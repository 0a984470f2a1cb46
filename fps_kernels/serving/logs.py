"""The log of our commands, on stderr: one record is one line, without secrets, and a terminal has nothing to obey."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import NoneType

from ..log_text import MAX_LINE_CHARS, escape, shorten
from .log_context import ContextFilter
from .log_formats import make_formatter
from .redaction import Redaction

MAX_TEXT_CHARS = 4 * MAX_LINE_CHARS
"""The characters of a message that are looked at: it may have gigabytes, and is searched for secrets."""
MAX_TRACEBACK_LINES = 200
"""The longest traceback; what is left out of it is in the middle."""
INDENT = "  "
"""Before each line of a traceback: only a record begins at the beginning of a line."""

_redaction = Redaction()  # of the process, as all of logging is


def hide(*secrets: str) -> None:
    """Never show these values in the log from now on, whoever logs them and however they are spelled."""
    _redaction.hide(*secrets)


def safe_line(text: object) -> str:
    """Return a text as it may stand in the log: on one line, without secrets, escaped and cut."""
    text = str(text).rstrip("\n")
    safe = escape(_redaction.redact(text[:MAX_TEXT_CHARS]))
    missing = len(text) - MAX_TEXT_CHARS
    if missing > 0:  # what the cut has left of a secret at the end is not recognized as one: the end goes, too
        safe = safe[: max(0, min(MAX_LINE_CHARS, len(safe) - MAX_LINE_CHARS))]
        return f"{safe}… ({len(text) - len(safe)} more characters)"
    return shorten(safe)


def safe_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record whose message, traceback and extra fields may be shown by any formatter."""
    fields = dict(record.__dict__)
    for name, value in fields.items():
        if name not in _OWN_FIELDS and not isinstance(value, (bool, int, float, NoneType)):
            fields[name] = _safe_field(name, value)
    fields |= {"msg": _message(record), "args": (), "exc_info": None, "exc_text": _traceback(record)}
    return logging.makeLogRecord(fields | {"stack_info": None})


_OWN_FIELDS = {"msg", "args", "exc_info", "exc_text", "stack_info", "levelname", "pathname", "filename", "module"}
"""Fields of a record that are not shown as they are, or come from source code."""


def _safe_field(name: str, value: object) -> str:
    """The value of a field; nothing of it if the name says that it is a secret."""
    prefix = f"{name}: "
    try:
        return safe_line(f"{prefix}{value}").removeprefix(prefix)
    except Exception as exc:  # whatever a stranger's __str__ raises; the record must not be lost for that
        return f"<{type(value).__name__}: {type(exc).__name__}>"


def _message(record: logging.LogRecord) -> str:
    message, args = record.msg, record.args
    try:
        if isinstance(args, Mapping):
            args = {name: _safe_field(name, one) if isinstance(one, str) else one for name, one in args.items()}
        return safe_line(str(message) % args if args else message)
    except Exception as exc:  # logging itself would print the arguments as they are
        return safe_line(f"{message!r} with the arguments {record.args!r}: {exc!r}")


def _traceback(record: logging.LogRecord) -> str | None:
    parts: list[str] = []
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        parts += traceback.format_exception(*record.exc_info)
    elif record.exc_text:
        parts += record.exc_text.splitlines()
    if record.stack_info:
        parts += str(record.stack_info).splitlines()
    lines = list(chain.from_iterable(map(_lines, parts)))
    if (missing := len(lines) - MAX_TRACEBACK_LINES) > 0:
        half = MAX_TRACEBACK_LINES // 2
        lines[half:-half] = [f"… ({missing} more lines)"]
    return "\n".join(INDENT + safe_line(line) for line in lines) or None


def _lines(part: str) -> Iterable[str]:
    """The lines of one part of a traceback: a frame has several, all others one, whatever an exception's text says."""
    if not part.lstrip(" |").startswith('File "'):
        return [line] if (line := part.strip("\n")) else []
    return part.strip("\n").split("\n")


class SafeFormatter(logging.Formatter):
    """A formatter that has another one format records that are safe to show."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return self.inner.format(safe_record(record))


class WithoutQuery(logging.Filter):
    """A filter that cuts the query off each path that uvicorn logs: it may contain a token under any name."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and arg.startswith("/") else arg for arg in record.args
            )
        return True


def configure(level: int | str, formatter: logging.Formatter | None = None) -> None:
    """Log to stderr from this level on, warnings of the module `warnings` included.

    Loggers with handlers of their own, such as that of a Jupyter application, get the same safety.
    formatter: of the operator; None for ours.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(formatter or make_formatter())
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(WithoutQuery())
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if not isinstance(handler.formatter, SafeFormatter):
                handler.setFormatter(SafeFormatter(handler.formatter or logging.Formatter()))
                handler.addFilter(ContextFilter())


class Sanitizer(logging.Handler):
    """A handler that shows nothing, and makes each record safe for the handlers after it."""

    def emit(self, record: logging.LogRecord) -> None:
        safe = safe_record(record)
        record.msg, record.args, record.exc_text, record.stack_info = safe.msg, (), safe.exc_text, None
        if not any(_handlers_above(logging.getLogger("fps_kernels"))) and logging.lastResort is not None:
            logging.lastResort.handle(record)  # as without this handler


def _handlers_above(logger: logging.Logger) -> Iterator[logging.Handler]:
    """The handlers of the loggers to which this one passes its records: of a host's own, or of the root."""
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        yield from logger.handlers


def sanitize_package() -> None:
    """Make what this package logs safe where the handlers are not ours: under any host. May be called twice."""
    package = logging.getLogger("fps_kernels")
    ours = any(isinstance(handler.formatter, SafeFormatter) for handler in logging.getLogger().handlers)
    if not ours and not any(isinstance(handler, Sanitizer) for handler in package.handlers):
        package.addHandler(Sanitizer())


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
