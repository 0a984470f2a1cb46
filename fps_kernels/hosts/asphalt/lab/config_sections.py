"""`/api/config`: settings of front ends, in the files in which Jupyter Server keeps them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_dir, jupyter_config_path
from starlette.requests import Request
from starlette.responses import Response
from traitlets.config.manager import BaseJSONConfigManager, recursive_update

from ....api.json_body import read_body
from ....errors import FPSKernelsError, InvalidBody
from ....json_model import decode
from ....serving.json_responses import json_response

FOLDER = "serverconfig"
_SECTION = re.compile(r"\w{1,100}")


class NoSection(FPSKernelsError):
    """The name of a section is not one that a file can have."""

    status = 404


class UnusableFile(FPSKernelsError):
    """The file of a section cannot be read or written."""

    status = 500


class ConfigSections:
    """The endpoint of all sections."""

    def __init__(self) -> None:
        self._changing = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """Show, replace or change a section. Raises NoSection, UnusableFile, InvalidBody."""
        name = _name(request)
        if request.method in ("GET", "HEAD"):
            return json_response(await _in_thread(_read, name))
        values = decode(await read_body(request))
        if not isinstance(values, dict):
            raise InvalidBody("The body is not a JSON object")
        async with self._changing:
            if request.method == "PATCH":
                return json_response(await _in_thread(lambda one: _own().update(one, values), name))
            await _in_thread(lambda one: _own().set(one, values), name)
        return Response(status_code=204)


def _own() -> BaseJSONConfigManager:
    """What the user has set, and may change."""
    return BaseJSONConfigManager(config_dir=str(Path(jupyter_config_dir()) / FOLDER))


def _read(name: str) -> dict[str, Any]:
    """A section from all of Jupyter's folders, of which the user's own counts most."""
    section: dict[str, Any] = {}
    for folder in reversed(jupyter_config_path()):
        recursive_update(section, BaseJSONConfigManager(config_dir=str(Path(folder) / FOLDER)).get(name))
    return section


async def _in_thread(change: Any, name: str) -> Any:
    """Raises UnusableFile."""
    try:
        return await asyncio.to_thread(change, name)
    except (OSError, ValueError) as exc:
        raise UnusableFile(
            f"The section {name} cannot be used: {getattr(exc, 'strerror', None) or 'not JSON'}"
        ) from exc


def _name(request: Request) -> str:
    """Raises NoSection."""
    name: str = request.path_params["section"]
    if not _SECTION.fullmatch(name):
        raise NoSection(f"No such section: {name[:100]}")
    return name
