"""The folder of connection files, which nobody else may write to."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from ..errors import BadOption
from ..kernel_driver.connection_file import MAX_SOCKET_PATH_BYTES, socket_path_bytes
from ..options import KernelsOptions
from ..private_files import folder_problem
from ..state_folder import open_state_folder

logger = logging.getLogger(__name__)


class ConnectionFolder:
    """Where a server's connection files are, and the sockets of kernels that use `transport=ipc`.

    path: the folder, which need not exist yet.

    If Jupyter's runtime folder cannot be written to, as where a container runs as any user, it is a temporary folder,
    which `close` removes; one in the state folder, if kernels outlive the server. May block. Raises BadOption.
    """

    def __init__(self, options: KernelsOptions) -> None:
        check_connection_folder(options)
        self._temporary: Path | None = None
        self.path = connection_folder(options)
        if options.connection_dir is None and (problem := _write_problem(self.path)):
            if options.keep_kernels == "never":
                self.path = self._temporary = _make_temporary(self.path, problem)
            else:
                self.path = _folder_that_stays(self.path, problem, options)

    def close(self) -> None:
        """Remove the folder if it is a temporary one. May be called twice."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def connection_folder(options: KernelsOptions) -> Path:
    """Return the folder that is configured for connection files, which need not exist yet."""
    if options.connection_dir is not None:
        return Path(options.connection_dir).expanduser()
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


def check_socket_paths(options: KernelsOptions) -> None:
    """Raises BadOption when sockets in the folder that is configured would have paths that are too long."""
    folder = connection_folder(options)
    if options.transport == "ipc" and (size := socket_path_bytes(folder)) > MAX_SOCKET_PATH_BYTES:
        raise BadOption(
            f"transport=ipc: the paths of sockets in {folder} would have {size} bytes, more than the "
            f"{MAX_SOCKET_PATH_BYTES} that are possible. Name a shorter folder with connection_dir or "
            "JUPYTER_RUNTIME_DIR"
        )


def check_connection_folder(options: KernelsOptions) -> None:
    """Look at who else can write to the folder. May block.

    Raises BadOption when `connection_dir` names one that others can write to: they could be the kernels. Jupyter's
    runtime folder is only warned of, as images of containers open whole homes for any user to run in.
    """
    folder = connection_folder(options)
    problem = folder_problem(folder)
    if problem is None:
        return
    if options.connection_dir is not None:
        raise BadOption(
            f"connection_dir={options.connection_dir}: {folder} {problem}. Name a folder of your own, mode 0700"
        )
    logger.warning("Jupyter's runtime folder, %s, %s: they can run code as this user. chmod 0700 it", folder, problem)


def _write_problem(folder: Path) -> str | None:
    """Why no file can be made in a folder, in words; None if one can. The folder is made for that."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as exc:
        return exc.strerror or str(exc)


def _folder_that_stays(unusable: Path, problem: str, options: KernelsOptions) -> Path:
    """A folder for the connection files of kernels that outlive the server. Raises BadOption."""
    folder = open_state_folder(options.state_dir) / "runtime"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise BadOption(f"state_dir={options.state_dir}: {exc.strerror}") from exc
    logger.warning(
        "Jupyter's runtime folder, %s, cannot be written to (%s): connection files are in %s", unusable, problem, folder
    )
    return folder


def _make_temporary(unusable: Path, problem: str) -> Path:
    """A new folder of this user's own. Raises BadOption."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="fps-kernels-"))
    except OSError as exc:
        raise BadOption(
            f"connection_dir: Jupyter's runtime folder, {unusable}, cannot be written to ({problem}), and there is no "
            f"temporary one ({exc.strerror or exc}). Name a folder with JUPYTER_RUNTIME_DIR"
        ) from exc
    logger.warning(
        "Jupyter's runtime folder, %s, cannot be written to (%s): connection files are in %s until this server ends",
        unusable,
        problem,
        folder,
    )
    return folder
