"""The tests once more, with servers whose kernels outlive them: FPS_KERNELS_TESTS_KEPT=1.

Each server that says nothing about it itself gets a keeper of its own, which is ended with it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from fps_kernels.keeper.keeper_folder import KeeperFolder

from .keepers import keeper_pid

KEPT = os.environ.get("FPS_KERNELS_TESTS_KEPT", "0") != "0"
END_S = 10.0
"""Seconds for a keeper, and the kernels that it still has, to end."""

not_kept = pytest.mark.skipif(KEPT, reason="is about kernels that end with their server")
"""A test that has no meaning with kernels that outlive their server, as they then are others' children."""


class OwnKeeper:
    """The state folder of one server, whose path is short enough for a socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fps-"))
        atexit.register(self.end)

    def end(self) -> None:
        """End the keeper, and whatever it has."""
        atexit.unregister(self.end)
        pid = keeper_pid(KeeperFolder(self.folder)) if self.folder.exists() else None
        if pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.terminate()
                with contextlib.suppress(psutil.TimeoutExpired):
                    process.wait(END_S)
        shutil.rmtree(self.folder, ignore_errors=True)


def own_keeper(words: Sequence[str], environ: dict[str, str]) -> OwnKeeper | None:
    """The keeper for a server with this command and environment; None if it is to have none, or has one already."""
    said = any("keep_kernels" in word or word == "--serve" for word in words)
    said = said or any("KEEP_KERNELS" in name for name in environ)
    return OwnKeeper() if KEPT and not said else None
