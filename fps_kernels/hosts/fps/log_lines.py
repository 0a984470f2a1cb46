"""Our lines in the log of today's Jupyverse, which writes its own to stdout, by structlog."""

from __future__ import annotations

import logging

STRUCTLOG_FORMAT = "%(message)s"
"""The form that structlog gives to logging: what it says itself has level and time in the message."""


class LineFormatter(logging.Formatter):
    """Formats the records of a package like lines of structlog, without their colours, and no others."""

    def __init__(self, package: str) -> None:
        super().__init__(STRUCTLOG_FORMAT)
        self._package = package
        self._lines = logging.Formatter("%(asctime)s [%(level)-9s] %(message)s [%(name)s]", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] != self._package:
            return super().format(record)
        record.level = record.levelname.lower()
        return self._lines.format(record)


def log_as_structlog(package: str) -> None:
    """Give the lines of a package a time and a level, where nobody but structlog has configured logging."""
    for handler in logging.getLogger().handlers:
        if handler.formatter is not None and handler.formatter._fmt == STRUCTLOG_FORMAT:
            handler.setFormatter(LineFormatter(package))
