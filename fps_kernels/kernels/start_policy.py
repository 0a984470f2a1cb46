"""What a server decides about the kernels that are started on it, beyond its configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .launch_environment import server_environment, working_directory

if TYPE_CHECKING:
    from ..kernel_driver.client import KernelClient


class StartPolicy:
    """Leaves everything as it is asked for.

    may_list: whether the running kernels and sessions may be listed. status_has_parent: see KernelServer.
    """

    may_list = True
    status_has_parent = False

    def kernel_name(self, requested: str | None) -> str | None:
        """The name of the kernelspec to start; None: the default one."""
        return requested

    def environment(self) -> dict[str, str]:
        """What of the server's environment its kernels get."""
        return server_environment(os.environ)

    def request_environment(self, environ: dict[str, str]) -> dict[str, str]:
        """What of a request's variables, of those that are allowed, its kernel gets over all else."""
        return environ

    def working_directory(self, root: Path, path: str, environ: Mapping[str, str]) -> Path:
        """Where a kernel starts. May look at folders: it is called in a thread.

        root: the contents root. path: of the notebook or folder it is for, "" when the request has none.
        environ: what the request wants to set, as it came.
        """
        return working_directory(root, path)

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        """Called for each new process that answers, also after a restart, before anybody else can talk to it.

        May ask it things with `client.request(..., at_once=True)`. What it raises makes the start fail.
        """
