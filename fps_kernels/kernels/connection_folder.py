"""The folder of connection files, which nobody else may write to."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import BadOption
from ..options import KernelsOptions
from ..private_files import folder_problem

logger = logging.getLogger(__name__)


def connection_folder(options: KernelsOptions) -> Path:
    """Return the folder for connection files, which need not exist yet."""
    if options.connection_dir is not None:
        return Path(options.connection_dir).expanduser()
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


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
