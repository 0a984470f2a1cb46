"""`/files`: files as they are, for downloads and for pictures in Markdown."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ....errors import FPSKernelsError

NOTEBOOK_TYPE = "application/x-ipynb+json"


class NoSuchFile(FPSKernelsError):
    """There is no such file, or it is none of the client's business."""

    status = 404


class FilesEndpoint:
    """The files below a folder, without hidden ones.

    root: the folder that the plugin `contents` serves.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def get(self, request: Request) -> Response:
        """Raises NoSuchFile."""
        path = await asyncio.to_thread(self.find, request.path_params["path"])
        headers = {"Content-Type": content_type(path.name), "Cache-Control": "no-cache"}
        if request.query_params.get("download") or path.suffix == ".ipynb":  # as Jupyter Server has it
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name, safe='')}"
        return FileResponse(path, headers=headers, stat_result=await asyncio.to_thread(os.stat, path))

    def find(self, name: str) -> Path:
        """A file that clients may have. Raises NoSuchFile."""
        parts = name.split("/")
        if "\0" in name or any(part.startswith(".") for part in parts):
            raise NoSuchFile(f"No such file: {name[:200]}")
        try:
            path = Path(os.path.normpath(self._root / name.strip("/")))
            # Links lead where they lead, as for the plugin that shows the folders.
            if not path.is_relative_to(self._root) or not path.is_file() or not os.access(path, os.R_OK):
                raise NoSuchFile(f"No such file: {name[:200]}")
        except (OSError, ValueError) as exc:  # a name too long, a lone surrogate
            raise NoSuchFile(f"No such file: {name[:200]}") from exc
        return path


def content_type(name: str) -> str:
    """The type of a file by its name, as Jupyter Server says it."""
    if name.lower().endswith(".ipynb"):
        return NOTEBOOK_TYPE
    guessed, encoding = mimetypes.guess_type(name)
    if encoding == "gzip":  # RFC 6713
        return "application/gzip"
    if encoding is not None or guessed is None:
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if guessed == "text/plain" else guessed
