"""Plugins of the tests for Jupyverse, as pip would install them, but without a wheel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"


def plugin_environment(base: Path, name: str, entry_points: str) -> dict[str, str]:
    """Variables with which a server has the plugin whose files in `plugins/` begin with this name."""
    folder = base / "plugins"
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for plugin in PLUGINS.glob(f"{name}*.py"):
        shutil.copy(plugin, folder)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
