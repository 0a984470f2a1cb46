"""Convert: a request to the text of REQUEST, in memory when it is short and in a file when it is long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Scope

from ...errors import FPSKernelsError
from .body_reader import Body
from .request_files import RequestFiles, remove
from .request_limits import RequestLimits
from .request_variable import request_json, request_pieces

logger = logging.getLogger(__name__)

SHORT_BYTES = 16 * 1024
"""Longer bodies and queries are converted in a thread: the fields of so many bytes take up to 20 ms."""
SHORT_CHARS = 16 * 1024
"""Longer texts go into a file. IPython takes 1 ms for each KiB of source: it looks for its own syntax in all of it."""
TURN_S = 0.001
"""How long a conversion may hold up the event loop's thread, apart from single calls that take longer."""
BREATH_S = 0.00005
"""A pause in which the event loop's thread gets its turn; without one, it would wait for 5 ms each time."""


@dataclass(frozen=True, slots=True)
class RequestText:
    """The text of REQUEST: JSON in printable ASCII, until it is released.

    text: the text if it is short, or else "".
    path: the file that has it if it is long.
    body: what counts for it.
    """

    text: str
    path: Path | None
    body: Body

    def read(self, chars: int) -> Iterator[str]:
        """The text of the file, in pieces. Blocks."""
        assert self.path is not None
        with self.path.open(encoding="ascii", newline="") as file:
            while piece := file.read(chars):
                yield piece

    def release(self) -> None:
        """Remove the file, if there is one, and count no more. May be called twice."""
        if self.path is not None:
            remove(self.path)
        self.body.release()


class _Cancelled(Exception):
    """Nobody waits for the text any more."""


class Converter:
    """Converts requests, one long one at a time: more would take more memory, but not less time."""

    def __init__(self, files: RequestFiles, limits: RequestLimits) -> None:
        self._files = files
        self._limits = limits
        self._turn = asyncio.Lock()

    def short(self, scope: Scope, parameters: Mapping[str, str], body: Body) -> RequestText | None:
        """The text of a request; None when it, or its body with its query, is long.

        Raises MalformedMultipart, TooManyFields, TooDeep.
        """
        if len(body.data) + len(scope["query_string"]) > SHORT_BYTES:
            return None
        text = request_json(scope["headers"], scope["query_string"], parameters, body.data, self._limits)
        return RequestText(text, None, body) if len(text) <= SHORT_CHARS else None

    async def long(self, scope: Scope, parameters: Mapping[str, str], body: Body) -> RequestText:
        """The text of a request, in a file. If this is cancelled there is none.

        Raises MalformedMultipart, TooManyFields, TooDeep.
        """
        cancelled = threading.Event()
        pieces = request_pieces(scope["headers"], scope["query_string"], parameters, body.data, self._limits)
        async with self._turn:
            writing = asyncio.create_task(
                asyncio.to_thread(self._files.write, _politely(pieces, cancelled)), name="write a request"
            )
            try:
                path = await asyncio.shield(writing)
            except asyncio.CancelledError:
                cancelled.set()
                with contextlib.suppress(_Cancelled, FPSKernelsError, OSError):
                    remove(await writing)
                raise
            except OSError as exc:
                logger.error("a request cannot be written: %s", exc)
                raise FPSKernelsError(f"The request cannot be stored: {exc.strerror}") from exc
            finally:
                del pieces
                body.data = bytearray()  # it is in the file
        return RequestText("", path, body)


def _politely(pieces: Iterator[str], cancelled: threading.Event) -> Iterator[str]:
    """The pieces, with pauses for other threads. Raises _Cancelled."""
    turn_ends = time.monotonic() + TURN_S
    for piece in pieces:
        yield piece
        if time.monotonic() > turn_ends:
            if cancelled.is_set():
                raise _Cancelled
            time.sleep(BREATH_S)
            turn_ends = time.monotonic() + TURN_S
