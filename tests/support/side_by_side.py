"""`jupyter lab` and `fps-kernels lab` side by side: the same pages, the same user, the same files."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from .gateways import Gateway
from .ports import free_port
from .stock import OPEN, StockServer

OFF = (
    "@jupyter/collaboration-extension",
    "@jupyter/docprovider-extension",
    "@jupyter-notebook/lab-extension",
    "@jupyterlab/apputils-extension:announcements",
)
"""What only one of the servers has its part of in this environment, and what wants to fetch news from elsewhere."""
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class LabHost:
    """One of the two servers. root: the folder of its files."""

    def __init__(self, server: Gateway | StockServer, root: Path, config: Path) -> None:
        self.server = server
        self.root = root
        self._config = config

    @property
    def url(self) -> str:
        return self.server.url

    def reset(self) -> None:
        """Have the files and the settings that a user begins with."""
        shutil.rmtree(self._config, ignore_errors=True)
        (self._config / "labconfig").mkdir(parents=True)
        page_config = {"disabledExtensions": dict.fromkeys(OFF, True)}
        (self._config / "labconfig" / "page_config.json").write_text(json.dumps(page_config))
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        fill(self.root)


def fill(root: Path) -> None:
    shown = new_output("execute_result", data={"text/plain": "2"}, execution_count=1)
    cells = [
        new_markdown_cell("# Title", id="markdown"),
        new_code_cell("1 + 1", id="with-output", outputs=[shown]),
        new_code_cell("print('x')", id="code"),
    ]
    for name in ("a", "b"):
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), root / f"{name}.ipynb")
    (root / "text.txt").write_text("text\n")
    (root / "data.csv").write_text("a,b\n1,2\n")
    (root / "picture.png").write_bytes(base64.b64decode(PICTURE))
    (root / "folder").mkdir()
    (root / "folder" / "inner.txt").write_text("inner\n")


@contextlib.contextmanager
def side_by_side(base: Path) -> Iterator[tuple[LabHost, LabHost]]:
    """Begin both: the stock one, whose kernels are not ours, and ours."""
    extensions = {"fps_kernels": False, "notebook": False}
    stock = StockServer(
        base / "stock",
        *OPEN,
        f"--ServerApp.jpserver_extensions={extensions}",
        program="jupyter-lab",
        env={"SHELL": "/bin/sh"},
    )
    folder = base / "ours" / "root"
    folder.mkdir(parents=True)
    options = ("--port", str(free_port()), "--no-token", "--set", "kernels.prewarm=0", "--root-dir", str(folder))
    ours = Gateway(base / "ours", "lab", *options, env={"SHELL": "/bin/sh"})
    try:
        ours.wait_ready()
        stock.wait_ready(240)
        yield LabHost(stock, stock.root, base / "stock" / "config"), LabHost(ours, folder, base / "ours" / "config")
    finally:
        ours.stop()
        stock.stop()
