"""What JupyterLab's page is told beyond what Jupyverse's plugin for it knows."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

MARKER = '<script id="jupyter-config-data" type="application/json">{'
"""What comes before the first key of the configuration in the page."""


def serves_jupyterlab() -> bool:
    """Whether Jupyverse's plugin with JupyterLab's page is there."""
    return _jupyterlab() is not None


def _jupyterlab() -> Any:
    return sys.modules.get("fps_jupyterlab.routes")  # imported before any plugin starts, if it is enabled


def extend_page_config(values: dict[str, Any]) -> None:
    """Have JupyterLab's page say these values, too, if the plugin that makes it is there.

    fps-jupyterlab has no call for it, so that the method that makes the page is replaced.
    """
    module = _jupyterlab()
    plugin = getattr(module, "_JupyterLab", None)
    get_index = getattr(plugin, "get_index", None)
    if plugin is None or get_index is None:
        return
    make = getattr(get_index, "__wrapped__", get_index)  # of another server in this process
    # In a page no text may end the script that it stands in.
    more = json.dumps(values)[1:-1].replace("<", "\\u003c")

    @functools.wraps(make)
    def with_values(self: Any, *arguments: Any, **keywords: Any) -> str:
        page = make(self, *arguments, **keywords)
        return str(page).replace(MARKER, f"{MARKER}{more}, ", 1)

    plugin.get_index = with_values
