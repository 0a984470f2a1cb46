"""What keeps a process from being launched: what can be done about it, and how a client is told."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from .exit_status import quotable

logger = logging.getLogger(__name__)


def leave_removed_folder() -> None:
    """Go to a folder that exists if this process's own has been removed: jupyter_client asks for it at each launch.

    Nothing that works depends on it: no relative path leads anywhere from a folder that is gone.
    """
    try:
        os.getcwd()
    except OSError:
        logger.warning("the folder that this server runs in has been removed: it goes on in %s", os.sep)
        os.chdir(os.sep)


def why_not_started(kernel_name: str, cwd: str, exc: Exception) -> str:
    """Why a process could not be launched, for a client: without the server's paths. May look at files."""
    what = f"Kernel {kernel_name} could not be started"
    if isinstance(exc, OSError) and exc.strerror:
        program = f": {Path(str(exc.filename)).name}" if exc.filename and exc.filename != cwd else ""
        if isinstance(exc, FileNotFoundError) and program and shutil.which(str(exc.filename)):
            return f"{what}: the program in its first line (#!) does not exist{program}"
        return f"{what}: {exc.strerror}{program}"
    return f"{what}: {quotable(str(exc)) or type(exc).__name__}"
