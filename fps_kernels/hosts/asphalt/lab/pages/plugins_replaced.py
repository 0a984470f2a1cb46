"""What is answered in the place of those plugins that are there, and not of those that are disabled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asphalt.core import Context
from jupyverse_api.contents import Contents
from jupyverse_api.jupyterlab import JupyterLab
from jupyverse_api.nbconvert import Nbconvert
from jupyverse_api.notebook import Notebook
from jupyverse_api.terminals import Terminals
from starlette.routing import BaseRoute

from ..files_endpoint import FilesEndpoint

OF_NOTEBOOK = "@jupyter-notebook/lab-extension"
"""What leads from JupyterLab to pages of Notebook 7. It comes with that package, whose pages another plugin has."""


class PluginsReplaced:
    """The routes, and the terminals behind some of them.

    ctx: where the plugins are, once they have started. base_url: the path that all paths begin with. url: the address
    of the server. root: the folder of the contents.
    """

    def __init__(self, ctx: Context, base_url: str, url: str, root: Path) -> None:
        self.routes: list[BaseRoute] = []
        self._terminals: Any = None
        jupyterlab: Any = ctx.get_resource(JupyterLab)
        contents: Any = ctx.get_resource(Contents)
        nbconvert: Any = ctx.get_resource(Nbconvert)
        terminals: Any = ctx.get_resource(Terminals)
        # Each is imported only where it is wanted: they need packages that come with the plugin.
        if jupyterlab is not None:
            from .page_routes import lab_page_routes

            values = {} if contents is None else contents.page_values
            values["terminalsAvailable"] = terminals is not None
            notebook: Any = ctx.get_resource(Notebook)
            lacking = [OF_NOTEBOOK] if notebook is None else []
            self.routes += lab_page_routes(base_url, jupyterlab, root, values, lacking)
        if nbconvert is not None:
            from .notebook_exports import ExportsEndpoint

            self.routes += ExportsEndpoint(FilesEndpoint(root), base_url).routes()
        if terminals is not None:
            from .terminals_endpoint import TerminalsEndpoint

            self._terminals = TerminalsEndpoint(root, url)
            self.routes += self._terminals.routes(base_url)

    def has_terminals(self) -> bool:
        """Whether somebody has a terminal."""
        return self._terminals is not None and bool(self._terminals.manager.terminals)

    async def close(self) -> None:
        """End the terminals."""
        if self._terminals is not None:
            await self._terminals.manager.shutdown()
