"""A stock Jupyter Server with our extension and those of others, in a venv that is made for the tests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .gateways import environment
from .programs import lack_unless_required
from .stock import OPEN, StockServer
from .venvs import make_venv

OTHERS = (
    "ipykernel",
    "jupyterlab >=4.4",
    "jupyter-collaboration >=4",
    "jupyter-lsp >=2.2",
    "jupyter-mcp-server >=2",
    "jupyter-resource-usage >=1.1",
    "jupyter-scheduler >=2.10",
    "jupyter-server-documents >=0.3",
    "jupyter-server-nbmodel >=0.2",
    "jupyter-server-proxy >=4.4",
    "jupyterlab-git >=0.51",
    "nextgen-kernels-api >=0.11",
    "papermill >=2.6",
    "python-lsp-server >=1.12",  # for jupyter-lsp
    "voila >=0.5.8",
)
"""All that run beside us. They can be installed together, though not all of them be switched on."""
REPLACING = ("jupyter_server_documents", "nextgen_kernels_api")
"""Those that replace a class of ours, each on a server of its own."""


def others_venv(folder: Path) -> Path:
    """A venv with this package and all others; returns its folder of commands.

    Skips where tests need not find what they want, as it loads some 100 MB.
    """
    lack_unless_required("extensions of others are installed from PyPI")
    return make_venv(folder, *OTHERS)


def environment_of(commands: Path, base: Path) -> dict[str, str]:
    """The variables for a program of that venv, whose files are below `base`."""
    environ = environment(base)
    environ.pop("PYTHONPATH", None)
    return environ | {"PATH": f"{commands}:{os.environ['PATH']}"}


class BesideServer(StockServer):
    """A process of `jupyter lab` in such a venv."""

    def __init__(self, base: Path, commands: Path, *, on: Iterable[str] = (), off: Iterable[str] = ()) -> None:
        extensions = dict.fromkeys(off, False) | dict.fromkeys(on, True)
        super().__init__(
            base,
            *OPEN,
            f"--ServerApp.jpserver_extensions={extensions}",
            "--FpsMappingKernelManager.prewarm=1",  # as users have it
            env=environment_of(commands, base),
            venv=commands.parent,
            program="jupyter-lab",
        )
