"""`/nbconvert`: notebooks in other formats, by nbconvert."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import sys
import zipfile
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from jupyter_core.paths import jupyter_config_dir
from nbconvert import exporters
from nbconvert.exporters import ExporterDisabledError, ExporterNameError
from nbformat import from_dict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from .....api.json_body import read_body
from .....api.responses import security_headers
from .....errors import FPSKernelsError, InvalidBody, NotFound
from .....json_model import decode
from .....serving.json_responses import json_response
from ..files_endpoint import FilesEndpoint
from .page_endpoints import answering

logger = logging.getLogger(__name__)

MAX_NOTEBOOK_BYTES = 100 * 1024 * 1024
AT_ONCE = 2
"""How many exports may run: each has a thread, and some a browser or LaTeX."""
NO_STORE = {"Cache-Control": "no-store, no-cache, must-revalidate, max-age=0"}
DATE = "%B %d, %Y" if sys.platform == "win32" else "%B %-d, %Y"


class ExportsEndpoint:
    """The endpoint of exports.

    files: the notebooks. base_url: the path that all paths begin with.
    """

    def __init__(self, files: FilesEndpoint, base_url: str) -> None:
        self._files = files
        self._base_url = base_url
        self._room = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        base_url = self._base_url
        return [
            Route(f"{base_url}api/nbconvert", answering(self.formats, security_headers(base_url))),
            # With the headers of what users have put there.
            Route(f"{base_url}nbconvert/{{format}}", answering(self.of_body, {}), methods=["POST"]),
            Route(f"{base_url}nbconvert/{{format}}/{{path:path}}", answering(self.of_file, {})),
        ]

    async def formats(self, request: Request) -> Response:
        """The formats that there are, with their media types."""
        return json_response(await asyncio.to_thread(_formats))

    async def of_file(self, request: Request) -> Response:
        """A notebook that is in a file. Raises NotFound, InvalidBody, FPSKernelsError."""
        kind, name = request.path_params["format"], request.path_params["path"].strip("/")
        path = await asyncio.to_thread(self._files.find, name)
        if path.suffix != ".ipynb":
            return RedirectResponse(f"{quote(self._base_url)}files/{quote(name)}", 302)
        download = request.query_params.get("download", "false").lower() in ("true", "1")
        sanitize = request.query_params.get("sanitize_html")
        async with self._room:
            return await asyncio.to_thread(_export_file, kind, path, download, sanitize)

    async def of_body(self, request: Request) -> Response:
        """A notebook that a client sends, as a model of the contents API. Raises NotFound, InvalidBody, …"""
        kind = request.path_params["format"]
        model = decode(await read_body(request, MAX_NOTEBOOK_BYTES))
        if not isinstance(model, dict) or not isinstance(model.get("content"), dict):
            raise InvalidBody("The body needs the content of a notebook")
        name = model.get("name", "notebook.ipynb")
        if not isinstance(name, str):
            raise InvalidBody("The name of the notebook is no text")
        async with self._room:
            return await asyncio.to_thread(_export_model, kind, os.path.basename(name), model["content"])


def _formats() -> dict[str, Any]:
    found = {}
    for name in exporters.get_export_names():  # type: ignore[no-untyped-call]
        try:
            found[name] = {"output_mimetype": _class(name).output_mimetype}
        except (ExporterDisabledError, ExporterNameError, ValueError, ImportError) as exc:
            logger.warning("The format %s is not there: %s", name, exc)
    return found


def _class(kind: str) -> Any:
    return exporters.get_exporter(kind)  # type: ignore[no-untyped-call]


def _exporter(kind: str) -> Any:
    """Raises NotFound, FPSKernelsError."""
    if not re.fullmatch(r"\w{1,100}", kind):  # nbconvert imports what has dots
        raise NotFound(f"No exporter for format: {kind[:100]}")
    try:
        return _class(kind)()
    except (ExporterNameError, ExporterDisabledError) as exc:
        raise NotFound(f"No exporter for format: {kind}") from exc
    except Exception as exc:  # it is somebody else's code
        raise FPSKernelsError(f"Could not construct Exporter: {exc}") from exc


def _export_file(kind: str, path: Path, download: bool, sanitize: str | None) -> Response:
    exporter = _exporter(kind)
    if kind == "html" and sanitize is not None:
        exporter.sanitize_html = sanitize.lower() == "true"
    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        changed = path.stat().st_mtime
    except Exception as exc:  # of a file that is no notebook, nbformat raises anything
        reason = exc.strerror if isinstance(exc, OSError) else repr(exc)[:200]
        raise InvalidBody(f"Unreadable Notebook: {path.name}: {reason}") from exc
    metadata = {
        "name": path.stem,
        "modified_date": datetime.fromtimestamp(changed).strftime(DATE),
        "path": str(path.parent),  # where its pictures are
    }
    response = _convert(exporter, notebook, path.stem, metadata, download=download)
    response.headers["Last-Modified"] = formatdate(changed, usegmt=True)
    return response


def _export_model(kind: str, name: str, content: dict[str, Any]) -> Response:
    exporter = _exporter(kind)
    title = os.path.splitext(name)[0] or "notebook"
    try:
        notebook = from_dict(content)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
    except Exception as exc:  # as above
        raise InvalidBody(f"Unreadable Notebook: {str(exc)[:500]}") from exc
    return _convert(exporter, notebook, title, {"name": title}, download=False)


def _convert(exporter: Any, notebook: Any, title: str, metadata: dict[str, str], *, download: bool) -> Response:
    """The export; with files beside it, such as pictures, both in an archive. Raises FPSKernelsError."""
    try:
        output, resources = exporter.from_notebook_node(
            notebook, resources={"metadata": metadata, "config_dir": jupyter_config_dir()}
        )
    except Exception as exc:  # of other programs, templates and notebooks
        raise FPSKernelsError(f"nbconvert failed: {str(exc)[:2000] or type(exc).__name__}") from exc
    data: bytes = output.encode("utf-8", "replace") if isinstance(output, str) else output
    name = title + resources["output_extension"]
    headers = dict(NO_STORE)
    if beside := resources.get("outputs"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
            for path, content in beside.items():
                archive.writestr(os.path.basename(path), content)
        headers["Content-Disposition"] = _attachment(f"{title}.zip")
        return Response(buffer.getvalue(), headers=headers, media_type="application/zip")
    if download:
        headers["Content-Disposition"] = _attachment(name)
    if exporter.output_mimetype:
        charset = "; charset=utf-8" if isinstance(output, str) else ""
        headers["Content-Type"] = f"{exporter.output_mimetype}{charset}"
    return Response(data, headers=headers)


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
