"""The files of JupyterLab, of its extensions and of its themes."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Sequence
from glob import glob
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from .....errors import NotFound
from .lab_folders import LabFolders


class StaticFolders:
    """Files of the first of several folders that has them.

    folders: says which, at each request. links: whether links may lead out of them, as those to an extension's sources
    do while it is developed.
    """

    def __init__(self, folders: Callable[[], Sequence[str]], *, links: bool = False) -> None:
        self._folders = folders
        self._links = links

    async def get(self, request: Request) -> Response:
        """Raises NotFound."""
        files = StaticFiles(follow_symlink=self._links)
        files.all_directories = [*await asyncio.to_thread(self._folders)]
        path: str = request.path_params["path"]
        if path.startswith("/") or ".." in path.split("/"):
            raise NotFound("Not Found")
        try:
            response = await files.get_response(path, request.scope)
        except HTTPException as exc:
            raise NotFound("Not Found") from exc
        response.headers["cache-control"] = "no-cache"  # an extension may be installed anew
        return response


def labextensions(folders: LabFolders) -> StaticFolders:
    return StaticFolders(lambda: folders.labextensions, links=True)


def themes(folders: LabFolders) -> StaticFolders:
    """URLs in style sheets stay relative: browsers look below the style sheet by themselves."""

    def found() -> list[str]:
        return [
            *(path for place in folders.labextensions for path in glob(f"{place}/**/themes", recursive=True)),
            folders.themes,
        ]

    return StaticFolders(found, links=True)


def application(folders: LabFolders) -> StaticFolders:
    return StaticFolders(lambda: [folders.static])


def favicons() -> StaticFolders:
    """Those of Jupyter Server, of which JupyterLab shows one while a kernel is busy."""
    spec = importlib.util.find_spec("jupyter_server")
    assert spec is not None
    assert spec.origin is not None
    folder = str(Path(spec.origin).parent / "static" / "favicons")
    return StaticFolders(lambda: [folder])
