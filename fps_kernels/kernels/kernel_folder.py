"""Where a kernel's processes start, as folders are renamed and removed while it lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .start_policy import StartPolicy


class KernelFolder:
    """The folder of one kernel: that of its notebook, or the nearest one above it that exists.

    folder: the one in which the first process starts.
    policy, root, path, environ: see StartPolicy.working_directory.
    bounds: the folder that kernels must not leave, as long as it exists; None if they may start anywhere.
    """

    def __init__(
        self, folder: Path, policy: StartPolicy, root: Path, path: str, environ: Mapping[str, str], bounds: Path | None
    ) -> None:
        self._first = folder
        self._policy = policy
        self._root = root
        self.path = path
        self.environ = environ
        self._bounds = bounds

    def move(self, path: str) -> None:
        """The notebook has got another path."""
        self.path = path

    def find(self) -> Path:
        """The folder to start in now. Blocks."""
        found = self._policy.working_directory(self._root, self.path, self.environ)
        if not self.path and found != self._first:  # that of KERNEL_WORKING_DIR, which is gone
            nearest = nearest_folder(self._first)
            if self._bounds is None or nearest.is_relative_to(self._bounds):
                found = nearest
        return nearest_folder(found)


def nearest_folder(folder: Path) -> Path:
    """The folder if it exists, or the nearest one above it in which a process can start. Blocks."""
    if not os.path.isdir(folder):  # false, too, for a circle of links or a name too long
        for parent in folder.parents:
            if os.path.isdir(parent) and os.access(parent, os.X_OK):
                return parent
    return folder
