"""The folder in which a keeper and its servers find each other, and what is in it.

keeper.sock     where the keeper listens
handed.sock     where servers hand in the sockets of their clients
keeper.lock     locked as long as a keeper lives
keeper.json     which keeper that is
keeper.log      what it has to say
kernels/ID.err  stderr and stdout of a kernel
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadOption, FPSKernelsError
from ..kernel_driver.connection_file import MAX_SOCKET_PATH_BYTES
from ..state_folder import open_state_folder


class BadKeeperFolder(FPSKernelsError):
    """A folder cannot be the state folder; the message says why."""


class KeeperFolder:
    """The paths in a state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "keeper.sock"
        self.clients = path / "handed.sock"  # no longer than the other
        self.lock = path / "keeper.lock"
        self.description = path / "keeper.json"
        self.log = path / "keeper.log"
        self.kernels = path / "kernels"

    def prepare(self) -> None:
        """Make the folder if it does not exist. Blocks. Raises BadKeeperFolder if it is not fit for what is in it."""
        if (size := len(os.fsencode(self.socket))) > MAX_SOCKET_PATH_BYTES:
            raise BadKeeperFolder(
                f"{self.path}: the path of the socket in it would have {size} bytes, of which {MAX_SOCKET_PATH_BYTES} "
                "are possible"
            )
        try:
            open_state_folder(str(self.path))
            self.kernels.mkdir(mode=0o700, exist_ok=True)
        except BadOption as exc:
            raise BadKeeperFolder(exc.message) from exc
        except OSError as exc:
            raise BadKeeperFolder(f"{self.path}: {exc.strerror}") from exc
