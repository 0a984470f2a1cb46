"""Which API the gateway exposes: a module with `create_personality(parent)`, ours or anybody's."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from .environment import BadOption

WEBSOCKET = ("jupyter-websocket", "kernel_gateway.jupyter_websocket")
NOTEBOOK_HTTP = ("notebook-http", "kernel_gateway.notebook_http")


class Personality(Protocol):
    """What `create_personality` returns."""

    def should_seed_cell(self, code: str) -> bool:
        """Whether a cell of the seed notebook is run on new kernels."""


class JupyterWebsocket:
    """The API of Jupyter Server: what the kernels component has."""

    def should_seed_cell(self, code: str) -> bool:
        return True


def load_personality(api: str, parent: Any) -> Personality:
    """Raises BadOption when there is no such module, or it is not a personality."""
    if api in WEBSOCKET:
        return JupyterWebsocket()
    if api in NOTEBOOK_HTTP:
        raise BadOption(f"api={api}: not there yet")
    try:
        module = importlib.import_module(api)
    except Exception as exc:  # whatever a module of somebody else's may do when it is imported
        raise BadOption(f"api={api}: {exc}") from exc
    create = getattr(module, "create_personality", None)
    if create is None:
        raise BadOption(f"api={api}: the module has no create_personality")
    personality: Personality = create(parent)
    return personality
