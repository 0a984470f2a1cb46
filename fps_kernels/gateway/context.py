"""What a personality works with."""

from __future__ import annotations

from dataclasses import dataclass

from ..api.routes import KernelRoutes
from .config.settings import Settings
from .seed import Seed


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """The gateway as its personality sees it.

    settings: the options of the command, checked.
    seed: the seed notebook, if there is one.
    kernels: the kernels; like the resource that Jupyverse's plugins get, it has `registry`, `get_client` and
      `watch_kernels`.
    """

    settings: Settings
    seed: Seed | None
    kernels: KernelRoutes
