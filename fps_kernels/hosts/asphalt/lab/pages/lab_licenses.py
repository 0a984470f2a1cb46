"""`/lab/api/licenses`: the licenses of what JupyterLab and its extensions bring to the page."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

from jupyterlab_server.licenses_handler import LicensesManager
from starlette.requests import Request
from starlette.responses import Response
from traitlets.config import Configurable

from .....errors import ClientError, FPSKernelsError
from .lab_folders import LabFolders

logger = logging.getLogger(__name__)

MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "markdown": "text/markdown"}
SUFFIXES = {"json": ".json", "csv": ".csv", "markdown": ".md"}


class LicensesEndpoint:
    """The endpoint of the report, in one of three formats."""

    def __init__(self, folders: LabFolders) -> None:
        self._folders = folders

    async def report(self, request: Request) -> Response:
        """The report, of the packages that `bundles` names. Raises ClientError, FPSKernelsError."""
        query = request.query_params
        form = query.get("format", "json")
        if form not in MEDIA_TYPES:
            raise ClientError(f"format should be one of {', '.join(MEDIA_TYPES)}")
        try:
            full_text = bool(json.loads(query.get("full_text", "true")))
            download = bool(json.loads(query.get("download", "0")))
            bundles = re.compile(query.get("bundles", ".*")).pattern
        except (ValueError, re.error, RecursionError) as exc:  # of JSON, or of the pattern
            raise ClientError(f"A parameter of the report is not valid: {str(exc)[:100]}") from exc
        try:
            text, _ = await asyncio.to_thread(self._manager().report, form, bundles, full_text)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise FPSKernelsError("The licenses of an extension cannot be read") from exc
        attachment = f"attachment; filename*=UTF-8''jupyterlab-licenses{SUFFIXES[form]}"
        headers = {"Content-Disposition": attachment} if download else {}
        return Response(text, headers=headers, media_type=MEDIA_TYPES[form])

    def _manager(self) -> Any:
        return LicensesManager(parent=_Application(self._folders), log=logger)


class _Application(Configurable):
    """What the manager wants to know of the application."""

    def __init__(self, folders: LabFolders) -> None:
        super().__init__()
        self.labextensions_path = folders.labextensions
        self.extra_labextensions_path: list[str] = []
        self.static_dir = folders.static
