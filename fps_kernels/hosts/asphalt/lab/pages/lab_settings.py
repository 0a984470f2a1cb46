"""`/lab/api/settings`: the settings of JupyterLab's plugins, where `jupyter lab` keeps them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonschema import ValidationError  # type: ignore[import-untyped]  # it has no types
from jupyterlab_server.settings_utils import (
    SETTINGS_EXTENSION,
    SchemaHandler,
    _get_overrides,
    get_settings,
    save_settings,
)
from jupyterlab_server.translation_utils import translator
from starlette.requests import Request
from starlette.responses import Response
from tornado.web import HTTPError

from .....api.json_body import read_body
from .....errors import FPSKernelsError, InvalidBody, NotFound
from .....serving.json_responses import json_response
from .file_replacement import replace_file
from .lab_folders import LabFolders

logger = logging.getLogger(__name__)

MAX_REASON = 2_000
"""Characters of a library's message that a client gets: those of jsonschema repeat the whole document."""
WITHOUT_USER = os.devnull
"""Stands for the folder of a user without settings."""
KEPT = ".unusable"
"""Ends the name of a file of settings that cannot be used, and makes way for one that can."""

_PLUGIN = re.compile(r"(?:@[^@/:\\]+/)?[^@/:\\][^/:\\]*:[^/:\\]+")


class SettingsEndpoint:
    """The endpoint of all plugins' settings.

    Their schemas are in JupyterLab and its extensions, their defaults may be overridden by an administrator, and the
    user's own are in a file for each plugin, in JSON with comments. A file that is broken counts as empty, and is kept
    beside the one that replaces it: one typing error does not take all other settings from the user.
    """

    def __init__(self, folders: LabFolders) -> None:
        self._folders = folders
        self._saving = asyncio.Lock()

    async def everything(self, request: Request) -> Response:
        """The settings of all plugins, or only their ids."""
        ids_only = request.query_params.get("ids_only") == "true"
        return await asyncio.to_thread(lambda: json_response({"settings": self._list(ids_only=ids_only)}))

    async def one(self, request: Request) -> Response:
        """Show or replace the settings of a plugin. Raises NotFound, InvalidBody, FPSKernelsError."""
        plugin = _plugin(request)
        if request.method != "PUT":
            return json_response(await asyncio.to_thread(self._show, plugin))
        raw = _raw(await read_body(request))
        async with self._saving:
            await asyncio.to_thread(self._save, plugin, raw)
        return Response(status_code=204)

    def locale(self) -> str:
        """The language that the user has chosen."""
        folders = self._folders
        # It only needs these attributes of its handler.
        needed: Any = type("Needed", (), {})()
        needed.app_settings_dir = folders.app_settings
        needed.schemas_dir = folders.schemas
        needed.settings_dir = folders.user_settings
        needed.overrides = self._overrides()
        needed.labextensions_path = folders.labextensions
        needed.log = logger
        return SchemaHandler.get_current_locale(needed)

    def _list(self, *, ids_only: bool) -> list[Any]:
        translator.set_locale(self.locale())
        try:
            result, warnings = self._get(ids_only=ids_only)
        except HTTPError:  # of a single one: the others are still good
            return [*self._usable(one["id"] for one in self._get(ids_only=True)[0]["settings"])]
        _warn(warnings)
        settings: list[Any] = result["settings"]
        return settings

    def _usable(self, plugins: Any) -> Any:
        for plugin in plugins:
            try:
                yield self._show(plugin)
            except FPSKernelsError as exc:
                logger.warning("Left out: %s", exc)

    def _show(self, plugin: str) -> Any:
        translator.set_locale(self.locale())
        try:
            try:
                result, warnings = self._get(schema_name=plugin)
            except HTTPError as exc:
                if exc.status_code != 500:
                    raise
                result, _ = self._get(schema_name=plugin, settings_dir=WITHOUT_USER)
                warnings = [_reason(exc)]
        except HTTPError as exc:
            raise _refusal(plugin, exc) from exc
        except OSError as exc:
            raise FPSKernelsError(f"The settings of {plugin} cannot be read: {exc.strerror}") from exc
        _warn(warnings)
        return result

    def _get(self, **more: Any) -> tuple[dict[str, Any], list[Any]]:
        folders = self._folders
        chosen = {"settings_dir": folders.user_settings, **more}
        return get_settings(
            folders.app_settings,
            folders.schemas,
            overrides=self._overrides(),
            labextensions_path=folders.labextensions,
            translator=translator.translate_schema,
            **chosen,
        )

    def _save(self, plugin: str, raw: str) -> None:
        folders = self._folders
        package, _, name = plugin.partition(":")
        place = Path(package) / f"{name}{SETTINGS_EXTENSION}"
        try:
            with TemporaryDirectory() as folder:  # what is written in place may be lost
                save_settings(folders.schemas, folder, plugin, raw, self._overrides(), folders.labextensions)
                data = (Path(folder) / place).read_bytes()
            target = Path(folders.user_settings) / place
            if self._is_unusable(plugin):
                replace_file(target.with_name(target.name + KEPT), target.read_bytes())
            replace_file(target, data)
        except HTTPError as exc:
            raise _refusal(plugin, exc) from exc
        except ValidationError as exc:
            raise InvalidBody(f"Failed validating input: {str(exc)[:MAX_REASON]}") from exc
        except OSError as exc:
            raise FPSKernelsError(f"The settings of {plugin} cannot be saved: {exc.strerror}") from exc
        except (ValueError, TypeError, AttributeError, RecursionError) as exc:  # of JSON5
            raise InvalidBody(f"Failed parsing settings: {str(exc)[:MAX_REASON]}") from exc

    def _is_unusable(self, plugin: str) -> bool:
        """Whether there is a file of the user that counts as empty, as it is."""
        try:
            return any(self._get(schema_name=plugin)[1])
        except HTTPError:
            return True

    def _overrides(self) -> dict[str, Any]:
        overrides, error = _get_overrides(self._folders.app_settings)
        if error:
            logger.warning("Failed loading overrides: %s", error)
        return overrides


def _plugin(request: Request) -> str:
    """The id of a plugin, such as @jupyterlab/apputils-extension:themes. Raises NotFound."""
    name: str = request.path_params["plugin"]
    parts = re.split("[/:]", name)
    if not _PLUGIN.fullmatch(name) or "\0" in name or any(part in (".", "..") for part in parts):
        raise NotFound(f"Settings not found ({name[:200]})")
    return name


def _raw(body: bytes) -> str:
    """The text of the settings in a body. Raises InvalidBody."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidBody(f"Failed parsing JSON payload: {exc}") from exc
    if not isinstance(values, dict) or not isinstance(values.get("raw"), str):
        raise InvalidBody("Invalid format for JSON payload. Must be in the form {'raw': ...}")
    raw: str = values["raw"]
    return raw


def _refusal(plugin: str, error: HTTPError) -> FPSKernelsError:
    """In our form. Messages of what is not there have a path of the server in them."""
    if error.status_code == 404:
        return NotFound(f"Schema not found: {plugin[:200]}")
    return FPSKernelsError(_reason(error))


def _reason(error: HTTPError) -> str:
    return str(error.log_message)[:MAX_REASON]


def _warn(warnings: list[Any]) -> None:
    for warning in warnings:
        if warning:
            logger.warning("%s", str(warning)[:MAX_REASON])
