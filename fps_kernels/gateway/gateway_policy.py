"""What the gateway decides about new kernels: kernelspec, environment, folder and seed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ..kernel_driver.client import KernelClient
from ..kernels.launch_environment import WORKING_DIRECTORY, existing_folder, server_environment
from ..kernels.start_policy import StartPolicy
from .config.settings import Settings
from .seed import Seed

ALWAYS = ("PATH", "HOME")
"""The variables that kernels get whatever env_process_whitelist says."""


class GatewayPolicy(StartPolicy):
    """The start policy that follows the gateway's options.

    selects_seed_cell: says of the code of a cell of the seed whether it is run.
    """

    status_has_parent = True

    def __init__(
        self, settings: Settings, seed: Seed | None, selects_seed_cell: Callable[[str], Awaitable[bool]]
    ) -> None:
        self.may_list = settings.list_kernels
        self._settings = settings
        self._seed = seed
        self._selects_seed_cell = selects_seed_cell

    def kernel_name(self, requested: str | None) -> str | None:
        """The forced kernelspec, else the requested one, else the default. "python" is the native Python's."""
        name = self._settings.force_kernel_name or requested or self._settings.default_kernel_name
        return "python3" if name == "python" else name or None

    def environment(self) -> dict[str, str]:
        names = self._settings.env_process_names
        environ = server_environment(os.environ)
        if names:
            environ = {name: value for name, value in environ.items() if name in names or name in ALWAYS}
        return {name: value for name, value in environ.items() if not name.startswith("KG_")}

    def request_environment(self, environ: dict[str, str]) -> dict[str, str]:
        """The variables without KG_*, which are the server's own whatever env_whitelist says."""
        return {name: value for name, value in environ.items() if not name.startswith("KG_")} | {"KERNEL_GATEWAY": "1"}

    def working_directory(self, root: Path, path: str, environ: Mapping[str, str]) -> Path:
        """The folder of KERNEL_WORKING_DIR, if the request has no path and this machine has the folder.

        It must be inside root_dir if that is set: an operator who sets it wants kernels in it. The folder that
        the server was started in is no such wish.
        """
        wanted = "" if path else environ.get(WORKING_DIRECTORY, "")
        return existing_folder(wanted, root if self._settings.kernels.root_dir else None) or super().working_directory(
            root, path, environ
        )

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        """Run the seed on kernels of its kernelspec; on all if it names none, or if one is forced."""
        seed = self._seed
        if seed is not None and (self._settings.force_kernel_name or seed.is_for(kernel_name)):
            await seed.run(client, self._selects_seed_cell, self._settings.seed_cell_timeout_s)
