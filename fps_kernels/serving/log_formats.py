"""The forms of a line of the log: for people, in colours on a terminal, or JSON for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

FORMAT = "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s"
"""As Jupyter Server's lines look."""
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
JSON, TEXT = "json", "text"
"""Values of `log_format`: for JSON, and for FORMAT."""

COLOURS = ((logging.ERROR, "31"), (logging.WARNING, "33"), (logging.INFO, "32"), (logging.DEBUG, "34"))
"""The colour of the head of a line, from a level on."""
KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What a record has that is nothing of its own."""


class JSONFormatter(logging.Formatter):
    """A line of JSON for each safe record: time (ISO 8601, UTC), level, logger, message, and what it has of its own.

    That is as far as it is known: kernel_id, kernelspec, session_id, user, request_id; event and duration_s of what
    happens to a kernel; traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in KNOWN}
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, default=str)


class ColourFormatter(logging.Formatter):
    """Lines whose head, up to the first bracket that closes, is in the colour of their level."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        head, bracket, rest = line.partition("]")
        colour = next((colour for level, colour in COLOURS if record.levelno >= level), None)
        return f"\x1b[{colour}m{head}{bracket}\x1b[0m{rest}" if colour and bracket else line


def log_format_problem(log_format: str) -> str | None:
    """What is wrong with a format; None if nothing is."""
    if log_format.lower() in (JSON, TEXT):
        return None
    try:
        logging.Formatter(log_format).format(logging.makeLogRecord({"color": "", "end_color": "", "highlevel": ""}))
    except (ValueError, TypeError, KeyError) as exc:
        return f"is neither `{TEXT}` nor `{JSON}`, nor a format of Python's logging: {exc}"
    return None


def make_formatter(log_format: str = FORMAT) -> logging.Formatter:
    """The formatter of a format, as of Python's `logging`, of JSON, or of TEXT."""
    if log_format.lower() == JSON:
        return JSONFormatter()
    log_format = FORMAT if log_format.lower() == TEXT else log_format
    plain = log_format != FORMAT or not is_coloured(sys.stderr, os.environ)
    return (logging.Formatter if plain else ColourFormatter)(log_format, DATE_FORMAT)


def is_coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that shows colours, and its user wants them."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
