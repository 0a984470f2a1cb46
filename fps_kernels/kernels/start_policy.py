"""Decisions of a host about the kernels that are started on it, beyond its configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .launch_environment import server_environment, working_directory

if TYPE_CHECKING:
    from ..kernel_driver.client import KernelClient


class StartPolicy:
    """The default policy: kernels are started as requested.

    may_list: whether the running kernels and sessions may be listed.
    status_has_parent: see KernelServer.
    """

    may_list = True
    status_has_parent = False

    def kernel_name(self, requested: str | None) -> str | None:
        """Return the name of the kernelspec to start; None for the default one."""
        return requested

    def environment(self) -> dict[str, str]:
        """Return the part of the server's environment that kernels get."""
        return server_environment(os.environ)

    def request_environment(self, environ: dict[str, str]) -> dict[str, str]:
        """Return the variables that override all others in a kernel.

        environ: the variables that its request wants to set and may set.
        """
        return environ

    def working_directory(self, root: Path, path: str, environ: Mapping[str, str]) -> Path:
        """Return the folder that a kernel starts in. It is called in a thread, as it may look at folders.

        root: the contents root.
        path: the notebook or folder that the kernel is for; "" when the request names none.
        environ: all variables that the request wants to set, whether it may or not.
        """
        return working_directory(root, path)

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        """Prepare a new process, also after a restart, when it answers and before anything else can talk to it.

        It can be asked with `client.request(..., at_once=True)`. An exception makes the start fail.
        """
