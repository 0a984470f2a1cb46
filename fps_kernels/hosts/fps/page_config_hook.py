"""What JupyterLab's page is told of the kernels, by way of the plugin that makes its configuration."""

from __future__ import annotations

from typing import Any

from fps import Module

NAME = "page_config"
"""The plugin's name under the command `jupyverse`."""


async def extend_page_config(module: Module, values: dict[str, Any]) -> None:
    """Have the pages of this Jupyverse say these values, too, if it has any pages."""
    parent = module.parent
    if parent is None or NAME not in parent.modules:  # whoever asks for what nobody publishes waits for ever
        return
    from jupyverse_lab import PageConfig  # it is there with that plugin

    page_config = await module.get(PageConfig)

    async def extend(config: dict[str, Any]) -> None:
        config.update(values)

    page_config.register(extend)
