"""Where an executed notebook is saved: at each moment the file is a whole notebook, of now or of some seconds ago."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from ..errors import BadOption
from .file_notebook import FileNotebook

SAVE_INTERVAL_S = 1.0
"""The shortest time between two saves while cells run."""
SAVE_SHARE = 0.05
"""The part of the time that saves may take: those of large notebooks are rarer."""


class SaveFailed(Exception):
    """The notebook could not be saved; the message says why."""


class OutputFile:
    """The file that a notebook is saved to.

    path: None for standard output. That, and what is no regular file, gets the notebook once, at the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else Path(os.path.realpath(path))  # a link stays one
        self._wanted = path
        self._whole = path is not None  # whether the file is replaced as a whole
        mask = os.umask(0)  # here, where no other thread makes files
        os.umask(mask)
        self._new_mode = 0o666 & ~mask

    @property
    def shown(self) -> str:
        return "standard output" if self._wanted is None else str(self._wanted)

    def check(self) -> None:
        """Raises BadOption if the file cannot be written, before anything is run for it."""
        if self._path is None:
            return
        try:
            mode = os.stat(self._path).st_mode
            if stat.S_ISDIR(mode):
                raise BadOption(f"{self.shown}: it is a folder, not a file to write the notebook to")
            self._whole = stat.S_ISREG(mode)
            if not os.access(self._path, os.W_OK):
                raise BadOption(f"{self.shown}: it cannot be written to (permission denied); see -o")
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise BadOption(f"{self.shown}: there is no folder {self._path.parent}") from None
        except OSError as exc:
            raise BadOption(f"{self.shown}: {exc.strerror}") from exc
        if self._whole:
            try:
                with tempfile.TemporaryFile(dir=self._path.parent):
                    pass
            except OSError as exc:
                raise BadOption(f"{self.shown}: no file can be made in its folder ({exc.strerror}); see -o") from exc

    def write(self, data: bytes) -> None:
        """Raises SaveFailed; what was there before is there still then."""
        try:
            if self._path is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif not self._whole:
                self._path.write_bytes(data)
            else:
                _replace(self._path, data, self._new_mode)
        except OSError as exc:
            raise SaveFailed(f"{self.shown}: {exc.strerror or exc}") from exc

    async def follow(self, notebook: FileNotebook, on_trouble: Callable[[str], None]) -> None:
        """Save the notebook whenever it has changed, but not too often, until this is cancelled.

        on_trouble: called with what is wrong when a save fails; the next one may be better.
        """
        while self._whole:
            await notebook.changed.wait()
            began = perf_counter()
            saving = asyncio.ensure_future(asyncio.to_thread(self.write, notebook.json()))
            try:
                await asyncio.wait([saving])
            finally:
                if not saving.done():  # cancelled: an old state must not be written after the last one
                    await asyncio.wait([saving])
            if (trouble := saving.exception()) is not None:
                on_trouble(str(trouble))
            await asyncio.sleep(max(SAVE_INTERVAL_S, (perf_counter() - began) / SAVE_SHARE))


def _replace(path: Path, data: bytes, new_mode: int) -> None:
    """Put a file with this content in the place of another one, whose permissions it gets; or `new_mode` for none."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # permissions are not everywhere
                os.chmod(name, stat.S_IMODE(path.stat().st_mode) if path.exists() else new_mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
