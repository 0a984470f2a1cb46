"""The seed notebook, whose code cells are run on each new kernel before a client gets it."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ..errors import BadOption, IdleWithoutReply, KernelStartFailed, KernelTimeout
from ..kernel_driver.client import KernelClient
from ..kernel_driver.kernelspec import ALIASES

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 30
"""Seconds to wait for a web server to connect, and for each of its answers."""
MAX_BYTES = 256 * 1024 * 1024
"""Bytes that are read from a web server."""


class SeedFailed(KernelStartFailed):
    """A cell of the seed notebook failed; the message names the cell and the error."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A notebook that is run on new kernels.

    uri: the path or URL it was read from.
    kernel_name: the name of its kernelspec, "" if it names none.
    cells: the number, among all cells and from 0, and the source of each code cell.
    notebook: the notebook itself, in the form of nbformat 4.
    """

    uri: str
    kernel_name: str
    cells: tuple[tuple[int, str], ...]
    notebook: dict[str, Any] = field(repr=False, compare=False)

    def is_for(self, kernel_name: str) -> bool:
        """Whether it is run on kernels of a kernelspec, whose name may be in any case."""
        return ALIASES.get(self.kernel_name, self.kernel_name).lower() in ("", kernel_name.lower())

    async def run(self, client: KernelClient, selects: Callable[[str], Awaitable[bool]], cell_timeout_s: float) -> None:
        """Run the selected cells in order. Raises SeedFailed.

        selects: says of the code of a cell whether it is run.
        cell_timeout_s: seconds that each cell may run. The caller ends the kernel if one takes longer.
        """
        for number, code in self.cells:
            if not code.strip() or not await selects(code):
                continue
            what = f"cell {number} of the seed notebook {Path(self.uri).name}"
            try:
                reply = await client.execute(
                    code, timeout_s=cell_timeout_s, grace_s=0, at_once=True, store_history=False
                )
            except IdleWithoutReply:
                logger.warning("%s ended without a reply", what)
                continue
            except KernelTimeout:
                raise SeedFailed(f"{what} did not end within {cell_timeout_s:g} s (seed_cell_timeout)") from None
            answer = reply.content
            if answer.get("status") != "ok":
                raise SeedFailed(f"{what} failed: {answer.get('ename')}: {answer.get('evalue')}")


def read_seed(uri: str) -> Seed:
    """Read a seed from a path or an http(s) URL. Raises BadOption."""
    try:
        if uri.startswith(("http://", "https://")):
            with urllib.request.urlopen(uri, timeout=FETCH_TIMEOUT_S) as response:  # an operator's URL
                data = response.read(MAX_BYTES)
        else:
            data = Path(uri.removeprefix("file://")).read_bytes()
        return _parse(uri, json.loads(data))
    except HTTPError as exc:
        raise BadOption(f"seed_uri={uri}: the server answers {exc.code} {exc.reason}") from exc
    except OSError as exc:
        reason = getattr(exc, "reason", exc)  # of URLError
        raise BadOption(f"seed_uri={uri}: {getattr(reason, 'strerror', None) or reason}") from exc
    except HTTPException as exc:
        raise BadOption(f"seed_uri={uri}: {exc!r}") from exc
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise BadOption(f"seed_uri={uri}: not a notebook ({exc})") from exc


def _parse(uri: str, notebook: Any) -> Seed:
    if "cells" in notebook:
        cells = notebook["cells"]
    else:  # nbformat 3
        cells = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    kernel_name = notebook.get("metadata", {}).get("kernelspec", {}).get("name", "")
    if not isinstance(kernel_name, str):
        raise ValueError("the name of its kernelspec is not a string")
    cells = [{**cell, "source": _text(cell.get("source", cell.get("input", "")))} for cell in cells]
    codes = [(number, cell["source"]) for number, cell in enumerate(cells) if cell["cell_type"] == "code"]
    return Seed(uri, kernel_name, tuple(codes), {**notebook, "cells": cells})


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
