"""The page of JupyterLab, which has the configuration in it: `/lab` and `/doc`, with what they are to open."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from jinja2.exceptions import TemplateError
from jupyter_server import version_info
from jupyter_server.config_manager import recursive_update
from jupyter_server.utils import url_path_join
from jupyterlab import __version__  # type: ignore[import-untyped]  # it has no types
from jupyterlab_server.config import LabConfig, get_page_config
from jupyterlab_server.handlers import MASTER_URL_PATTERN, _camelCase
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .....errors import FPSKernelsError, NotFound
from ...page_config import MARKER
from .lab_folders import LabFolders

logger = logging.getLogger(__name__)

MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/MathJax.js"

_PAGE = re.compile(MASTER_URL_PATTERN.format("lab"), re.DOTALL)


class LabPage:
    """The page, in the words of JupyterLab's own template.

    plugin: Jupyverse's plugin for JupyterLab, whose page has some values that only Jupyverse knows.
    base_url: the path that all paths begin with. root: the folder of the contents. values: what the
    other plugins have the page told. lacking: extensions whose part of the server is not there.
    """

    def __init__(
        self,
        folders: LabFolders,
        plugin: Any,
        base_url: str,
        root: Path,
        values: Mapping[str, bool],
        lacking: Sequence[str],
    ) -> None:
        self._folders = folders
        self._plugin = plugin
        self._base_url = base_url
        self._root = root
        self._values = values
        self._lacking = lacking
        self._templates = Environment(loader=FileSystemLoader(folders.static), autoescape=True)

    async def show(self, request: Request) -> Response:
        """The page of a path below `/lab` or `/doc`. Raises NotFound, FPSKernelsError."""
        path = "/" + request.scope["path"].removeprefix(self._base_url)
        found = _PAGE.fullmatch(path)
        if found is None and not path.startswith("/lab/"):
            raise NotFound("Not Found")
        if path.endswith("/"):
            where = quote(self._base_url[:-1] + path.rstrip("/"))
            return RedirectResponse(f"{where}?{request.url.query}" if request.url.query else where, 301)
        return await asyncio.to_thread(self._render, found, path)

    async def start(self, request: Request) -> Response:
        """From the root of the server to the page; parameters, such as a token, stay."""
        where = f"{quote(self._base_url)}lab"
        return RedirectResponse(f"{where}?{request.url.query}" if request.url.query else where, 302)

    def _render(self, found: re.Match[str] | None, path: str) -> Response:
        config = self.config()
        mode, workspace, tree = found.group("mode", "workspace", "tree") if found else ("lab", None, None)
        config["mode"] = "single-document" if mode == "doc" else "multiple-document"
        config["workspace"] = (workspace or "/workspaces/default").removeprefix("/workspaces/")
        config["treePath"] = (tree or "").removeprefix("/tree/")
        if found is None:
            config["notFoundUrl"] = quote(self._base_url[:-1] + path)
        try:
            template = self._templates.get_template("index.html")
            page = template.render(page_config=config, base_url=config["baseUrl"], ws_url="", custom_css=False)
        except (TemplateError, OSError) as exc:
            raise FPSKernelsError("JupyterLab has no page here: it is not installed completely") from exc
        return HTMLResponse(page)

    def config(self) -> dict[str, Any]:
        """What the page is told of the server, as `jupyter lab` tells it. What is in files is read anew."""
        folders = self._folders
        config = self._of_plugin()
        base_url = str(config["baseUrl"])
        config |= {
            "buildAvailable": False,  # there is nothing to build: extensions bring their code
            "buildCheck": False,
            "exposeAppInBrowser": False,
            "extensionManager": {"name": "read-only", "can_install": False, "install_path": sys.prefix},
            "fullMathjaxUrl": MATHJAX,
            "fullStaticUrl": url_path_join(base_url, "static/lab"),
            "ignorePlugins": [],
            "mathjaxConfig": "TeX-AMS_HTML-full,Safe",
            "news": {"disabled": True},  # nothing is fetched from elsewhere
            "notebookVersion": json.dumps(version_info),
            "preferredPath": "/",
            "quitButton": True,
            "serverRoot": _shown(self._root),
            "store_id": 0,
            "token": "",  # a browser has its cookie
            **self._values,
        }
        lab = LabConfig(
            app_name="JupyterLab",
            app_namespace="lab",
            app_version=__version__,
            app_settings_dir=folders.app_settings,
            cache_files=False,
            schemas_dir=folders.schemas,
            static_dir=folders.static,
            templates_dir=folders.static,
            themes_dir=folders.themes,
            user_settings_dir=folders.user_settings,
            workspaces_dir=folders.workspaces,
            labextensions_path=folders.labextensions,
        )
        for name in lab.trait_names():
            value = getattr(lab, name)
            if name.endswith("_url"):
                value = value.rstrip("/")
                config[_camelCase(f"full_{name}")] = url_path_join(base_url, value)
            config[_camelCase(name)] = value
        del config["disabledExtensions"], config["federated_extensions"]
        try:
            recursive_update(config, get_page_config(folders.labextensions, folders.app_settings, logger))
        except (OSError, ValueError, KeyError) as exc:
            raise FPSKernelsError(f"The configuration of JupyterLab's page cannot be read: {exc}") from exc
        config["disabledExtensions"] += self._lacking
        return config

    def _of_plugin(self) -> dict[str, Any]:
        plugin = self._plugin
        page = plugin.get_index(
            "default",
            plugin.frontend_config.collaborative,
            plugin.jupyterlab_config.server_side_execution,
            plugin.jupyterlab_config.dev_mode,
            plugin.frontend_config.base_url,
        )
        config: dict[str, Any] = json.JSONDecoder().raw_decode(page, page.index(MARKER) + len(MARKER) - 1)[0]
        return config


def _shown(folder: Path) -> str:
    """The path of a folder as users write it, with `~` for their own."""
    home = Path.home()
    return f"~/{folder.relative_to(home).as_posix()}" if home in folder.parents else folder.as_posix()
