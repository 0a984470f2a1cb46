"""Whether this system can run kernels as this package does it. Imports nothing that other systems may lack."""

from __future__ import annotations

import os
import sys

from ..errors import BadOption

WITHOUT_PROCESSES = ("emscripten", "wasi")


def check_system() -> None:
    """Raises BadOption where there are no POSIX processes."""
    if sys.platform == "win32" or os.name == "nt":
        raise BadOption("Windows is not supported: kernels need process groups and signals of POSIX. Use it in WSL")
    if sys.platform in WITHOUT_PROCESSES:
        raise BadOption(f"{sys.platform} is not supported: kernels need processes")
