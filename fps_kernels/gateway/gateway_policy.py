"""What the gateway decides about kernels: their names, their environment, and the seed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ..kernel_driver.client import KernelClient
from ..kernels.launch_environment import existing_folder, server_environment
from ..kernels.start_policy import StartPolicy
from .config.settings import Settings
from .seed import Seed

ALWAYS = ("PATH", "HOME")
WORKING_DIRECTORY = "KERNEL_WORKING_DIR"


class GatewayPolicy(StartPolicy):
    """wanted(code): whether a cell of the seed is to be run."""

    status_has_parent = True

    def __init__(self, settings: Settings, seed: Seed | None, wanted: Callable[[str], Awaitable[bool]]) -> None:
        self.may_list = settings.list_kernels
        self._settings = settings
        self._seed = seed
        self._wanted = wanted

    def kernel_name(self, requested: str | None) -> str | None:
        """The forced one wins over everything; "python" is the native Python's."""
        name = self._settings.force_kernel_name or requested or self._settings.default_kernel_name
        return "python3" if name == "python" else name or None

    def environment(self) -> dict[str, str]:
        names = self._settings.env_process_names
        environ = server_environment(os.environ)
        if names:
            environ = {name: value for name, value in environ.items() if name in names or name in ALWAYS}
        return {name: value for name, value in environ.items() if not name.startswith("KG_")}

    def request_environment(self, environ: dict[str, str]) -> dict[str, str]:
        """KG_* are the server's own, whatever env_whitelist says."""
        return {name: value for name, value in environ.items() if not name.startswith("KG_")} | {"KERNEL_GATEWAY": "1"}

    def working_directory(self, root: Path, path: str, environ: Mapping[str, str]) -> Path:
        """KERNEL_WORKING_DIR is the notebook's folder on the machine of a Jupyter server in front.

        It is the kernel's when this machine has it, too, and the request has no path of its own. An operator who
        sets root_dir wants kernels in it; where the server happens to be started says nothing of that kind.
        """
        wanted = "" if path else environ.get(WORKING_DIRECTORY, "")
        return existing_folder(wanted, root if self._settings.kernels.root_dir else None) or super().working_directory(
            root, path, environ
        )

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        """The seed is for kernels of its kernelspec; for all, if it names none or one is forced."""
        seed = self._seed
        if seed is None:
            return
        if self._settings.force_kernel_name or seed.is_for(kernel_name):
            await seed.run(client, self._wanted, self._settings.seed_cell_timeout_s)
