"""The folder in which a keeper and its servers find each other, and what is in it.

keeper.sock     where the keeper listens
keeper.lock     locked as long as a keeper lives
keeper.json     which keeper that is
keeper.log      what it has to say
kernels/ID.err  stderr and stdout of a kernel
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import FPSKernelsError
from ..kernel_driver.connection_file import MAX_SOCKET_PATH_BYTES
from ..private_files import folder_problem

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class BadStateFolder(FPSKernelsError):
    """A folder cannot be the state folder; the message says why."""


class StateFolder:
    """The paths in a state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "keeper.sock"
        self.lock = path / "keeper.lock"
        self.description = path / "keeper.json"
        self.log = path / "keeper.log"
        self.kernels = path / "kernels"

    def prepare(self) -> None:
        """Make the folder if it does not exist. Blocks. Raises BadStateFolder if others can get at what is in it."""
        if (size := len(os.fsencode(self.socket))) > MAX_SOCKET_PATH_BYTES:
            raise BadStateFolder(
                f"{self.path}: the path of the socket in it would have {size} bytes, of which {MAX_SOCKET_PATH_BYTES} "
                "are possible"
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.lstat()
            problem = folder_problem(self.path)
            if not stat.S_ISDIR(status.st_mode):
                problem = "is a link, or no folder"
            elif status.st_uid != os.geteuid():
                problem = f"belongs to another user ({status.st_uid})"
            elif status.st_mode & OTHERS:
                problem = f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}, which must be 0700)"
            if problem:
                raise BadStateFolder(f"{self.path} {problem}")
            self.kernels.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise BadStateFolder(f"{self.path}: {exc.strerror}") from exc


def default_state_folder() -> Path:
    """Where the state folder is if nobody says otherwise: gone after a reboot, as the kernels are, and never on NFS."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime) / "fps-kernels"
    return Path(f"/tmp/fps-kernels-{os.geteuid()}")
