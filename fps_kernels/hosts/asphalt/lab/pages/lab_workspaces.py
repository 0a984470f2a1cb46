"""`/lab/api/workspaces`: which tabs are open where, in the files in which `jupyter lab` keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyterlab_server.workspaces_handler import WorkspacesManager
from starlette.requests import Request
from starlette.responses import Response

from .....api.json_body import read_body
from .....errors import ClientError, FPSKernelsError, InvalidBody, NotFound
from .....serving.json_responses import json_response
from .file_replacement import replace_file
from .lab_folders import LabFolders

MAX_WORKSPACE_BYTES = 10 * 1024 * 1024


class WorkspacesEndpoint:
    """The endpoint of all workspaces. One request at a time: a list is not made while a workspace is deleted."""

    def __init__(self, folders: LabFolders) -> None:
        self._folder = Path(folders.workspaces)
        self._manager = WorkspacesManager(folders.workspaces)
        self._busy = asyncio.Lock()

    async def everything(self, request: Request) -> Response:
        """All workspaces. Raises ClientError, FPSKernelsError."""
        if request.method not in ("GET", "HEAD"):
            raise ClientError(f"Workspace name is required for {request.method}")
        async with self._busy:
            found = await asyncio.to_thread(self._list)
        ids = [workspace["metadata"]["id"] for workspace in found]
        return json_response({"workspaces": {"ids": ids, "values": found}})

    async def one(self, request: Request) -> Response:
        """Show, replace or delete a workspace. Raises InvalidBody, NotFound, FPSKernelsError."""
        name: str = request.path_params["name"]
        body = await read_body(request, MAX_WORKSPACE_BYTES) if request.method == "PUT" else b""
        async with self._busy:
            if request.method == "PUT":
                await asyncio.to_thread(self._save, name, body)
            elif request.method == "DELETE":
                await asyncio.to_thread(self._delete, name)
            else:
                return json_response(await asyncio.to_thread(self._load, name))
        return Response(status_code=204)

    def _list(self) -> list[Any]:
        try:
            return self._manager.list_workspaces()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise FPSKernelsError(f"The workspaces cannot be read: {_reason(exc)}") from exc

    def _load(self, name: str) -> Any:
        try:
            return self._manager.load(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise FPSKernelsError(f"The workspace {name[:100]} cannot be read: {_reason(exc)}") from exc

    def _save(self, name: str, body: bytes) -> None:
        try:
            with TemporaryDirectory() as folder:  # what is written in place may be lost
                written = WorkspacesManager(folder).save(name, body.strip().decode())
                data = written.read_bytes()
        except (KeyError, TypeError, AttributeError) as exc:
            raise InvalidBody("A workspace is a JSON object with metadata that has its id") from exc
        except ValueError as exc:
            raise InvalidBody(str(exc)[:1000]) from exc
        try:
            replace_file(self._folder / written.name, data)
        except OSError as exc:
            raise FPSKernelsError(f"The workspace {name[:100]} cannot be saved: {exc.strerror}") from exc

    def _delete(self, name: str) -> None:
        try:
            self._manager.delete(name)
        except (FileNotFoundError, ValueError) as exc:
            raise NotFound(f"Workspace {name[:100]!r} not found") from exc
        except OSError as exc:
            raise FPSKernelsError(f"The workspace {name[:100]} cannot be deleted: {exc.strerror}") from exc


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be opened"
    return str(error)[:200] if isinstance(error, ValueError) else "it is no workspace"
