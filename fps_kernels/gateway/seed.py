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
from urllib.request import url2pathname

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
            data = _local_path(uri).read_bytes()
        return _parse(uri, json.loads(data))
    except HTTPError as exc:
        raise BadOption(f"seed_uri={uri}: the server answers {exc.code} {exc.reason}") from exc
    except OSError as exc:
        reason = getattr(exc, "reason", exc)  # of URLError
        raise BadOption(f"seed_uri={uri}: {getattr(reason, 'strerror', None) or reason}") from exc
    except HTTPException as exc:
        raise BadOption(f"seed_uri={uri}: {exc!r}") from exc
    except (ValueError, RecursionError) as exc:
        raise BadOption(f"seed_uri={uri}: not a notebook ({exc})") from exc


def _local_path(uri: str) -> Path:
    """The path of a file: URL, which may be percent-encoded or not, or of what is no URL."""
    plain = Path(uri.removeprefix("file://"))
    if not uri.startswith("file://") or plain.exists():
        return plain
    return Path(url2pathname(uri.removeprefix("file://").removeprefix("localhost")))


def _parse(uri: str, notebook: Any) -> Seed:
    """The notebook of any version, as nbformat 4 has it; what is null is taken for missing. Raises ValueError."""
    if not isinstance(notebook, dict):
        raise ValueError("it is not a JSON object")
    if "cells" in notebook:
        cells = _list(notebook["cells"], "its cells")
    elif "worksheets" in notebook:  # nbformat 3
        sheets = _list(notebook["worksheets"], "its worksheets")
        cells = [cell for sheet in sheets for cell in _list(_object(sheet).get("cells"), "its cells")]
    else:
        raise ValueError("it has neither cells nor worksheets")
    cells = [_cell(number, cell) for number, cell in enumerate(cells)]
    metadata = dict(_object(notebook.get("metadata")))
    for name in {"kernelspec", "language_info"} & metadata.keys():
        metadata[name] = _object(metadata[name])
    kernel_name = metadata.get("kernelspec", {}).get("name") or ""
    if not isinstance(kernel_name, str):
        raise ValueError("the name of its kernelspec is not a string")
    codes = [(number, cell["source"]) for number, cell in enumerate(cells) if cell["cell_type"] == "code"]
    return Seed(uri, kernel_name, tuple(codes), {**notebook, "metadata": metadata, "cells": cells})


def _cell(number: int, cell: Any) -> dict[str, Any]:
    """A cell with its source as one string, whose lines end as kernels expect it. Raises ValueError."""
    if not isinstance(cell, dict):
        raise ValueError(f"cell {number} is not an object")
    source = cell.get("source", cell.get("input"))  # that is its name in nbformat 3
    lines = [source] if isinstance(source, str) else source or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError(f"the source of cell {number} is neither a string nor a list of strings")
    text = "".join(lines).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    kind = cell.get("cell_type") or ""
    return {**cell, "cell_type": kind, "source": text, "metadata": _object(cell.get("metadata"))}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any, what: str) -> list[Any]:
    """Raises ValueError."""
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{what} are not a list")
    return value or []
