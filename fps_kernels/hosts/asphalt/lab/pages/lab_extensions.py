"""`/lab/api/extensions` and `/lab/api/plugins`: what the extension manager shows and switches."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from jupyterlab_server.config import get_static_page_config
from starlette.requests import Request
from starlette.responses import Response

from .....api.json_body import read_body
from .....errors import ClientError, InvalidBody
from .....json_model import decode
from .....serving.json_responses import json_response
from .lab_folders import LabFolders


class Unprocessable(ClientError):
    """A command that the extension manager does not know, or does not carry out."""

    status = 422


class ExtensionsEndpoint:
    """The extensions that are installed. None can be installed from here, as with JupyterLab's read-only manager.

    JupyterLab's managers work in threads here, as they read files on their event loop.
    """

    def __init__(self, folders: LabFolders) -> None:
        self._folders = folders
        self._changing = asyncio.Lock()

    async def extensions(self, request: Request) -> Response:
        """List them, or switch one on or off. Raises InvalidBody, Unprocessable."""
        if request.method == "POST":
            return await self._command(request, "extension_name")
        query = request.query_params.get("query")

        def found() -> Response:
            extensions, _ = asyncio.run(self._manager().list_extensions(query))
            return json_response([dataclasses.asdict(one) for one in extensions])

        return await asyncio.to_thread(found)

    async def plugins(self, request: Request) -> Response:
        """Which plugins are locked; or switch one on or off. Raises InvalidBody, Unprocessable."""
        if request.method == "POST":
            return await self._command(request, "plugin_name")
        return json_response(await asyncio.to_thread(lambda: asyncio.run(self._manager().plugin_locks())))

    async def _command(self, request: Request, key: str) -> Response:
        body = decode(await read_body(request))
        if not isinstance(body, dict) or not isinstance(body.get("cmd"), str) or not isinstance(body.get(key), str):
            raise InvalidBody(f"The body needs cmd and {key}")
        command, name = body["cmd"], body[key]
        if command not in ("enable", "disable") or not name:
            raise Unprocessable(f"Could not process instruction {command[:100]!r} with {name[:100]!r}")

        def change() -> Any:
            return asyncio.run(getattr(self._manager(), command)(name))

        async with self._changing:
            result = await asyncio.to_thread(change)
        return json_response(dataclasses.asdict(result), 500 if result.status == "error" else 201)

    def _manager(self) -> Any:
        from jupyterlab.commands import AppOptions  # type: ignore[import-untyped]  # it has no types
        from jupyterlab.extensions.readonly import ReadOnlyExtensionManager  # type: ignore[import-untyped]

        folders = self._folders
        options = AppOptions(app_dir=folders.app, labextensions_path=folders.labextensions)
        locked = get_static_page_config(level="all").get("lockedExtensions", {})
        rules = frozenset(rule for rule, value in locked.items() if value)
        return ReadOnlyExtensionManager(options, {"lock_rules": rules})
