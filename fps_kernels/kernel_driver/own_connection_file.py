"""jupyter_client's manager, with connection files that are nobody else's.

A client may choose a kernel's id, and the name of the file is made from it: there may be one of that name, which
belongs to a kernel of another server. jupyter_client replaces it, and deletes it when its own kernel ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ledger import Ledger, key_print
from ..private_files import move_new, read_regular, write_new
from .connection_file import MAX_FILE_BYTES
from .held_ports import PortHolder

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

logger = logging.getLogger(__name__)

SAFE_KERNEL_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""Kernel ids that can stand in a URL and in the name of a connection file."""

NAMES_TRIED = 8
"""How many names are tried; each has 32 random bits."""


def free_path(path: Path) -> Path:
    """Return the path, or one beside it if there is something already. May block.

    A folder of that name is nobody's connection file: it is left to fail.
    """
    return _another(path) if os.path.lexists(path) and not path.is_dir() else path


def _another(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")


@cache
def manager_class() -> type[AsyncKernelManager]:
    """The class of managers. Imports jupyter_client, which takes 0.15 s."""
    from jupyter_client.manager import AsyncKernelManager

    class OwnFileManager(PortHolder, AsyncKernelManager):
        ledger: Ledger | None = None
        """Where connection files are written down, so that they do not stay should this server be killed."""
        outlives = False
        """Whether the process outlives this server: its file must not go with this object then."""

        def __del__(self) -> None:
            if self.outlives:
                self.let_ports_go()
            else:
                super().__del__()

        def write_connection_file(self, **kwargs: Any) -> None:
            """Write the connection file under a name that is free, which `connection_file` is then.

            Provisioners call this, too.
            """
            if self._connection_file_written and os.path.exists(self.connection_file):
                return
            path = wanted = Path(self.connection_file)
            draft = path.with_name(f".{path.stem}-{secrets.token_hex(8)}.part")
            self.connection_file = str(draft)
            try:
                super().write_connection_file(**kwargs)
                for _ in range(NAMES_TRIED):
                    with contextlib.suppress(FileExistsError):
                        self._write_down(path)
                        move_new(draft, path)
                        break
                    self._strike_out(path)
                    path = free_path(wanted)
                else:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            except BaseException:
                self._connection_file_written = False
                self._strike_out(path)
                raise
            finally:
                self.connection_file = str(path)
                with contextlib.suppress(FileNotFoundError):
                    draft.unlink()
            if path != wanted:
                logger.info("%s exists: the connection file of this kernel is %s", wanted.name, path.name)

        def cleanup_connection_file(self) -> None:
            """Delete the connection file if it is there and has this manager's key."""
            self.let_ports_go()
            if self._connection_file_written:
                self._connection_file_written = False
                path = Path(self.connection_file)
                if _key_in(path) == self.session.key:
                    with contextlib.suppress(FileNotFoundError):
                        path.unlink()
                self._strike_out(path)

        def move_connection_file(self, target: Path, session_name: str) -> None:
            """Move the connection file to a name that is free, and have it name another session.

            Raises OSError; nothing is changed then.
            """
            source = Path(self.connection_file)
            self._write_down(target)
            try:
                move_connection_file(source, target, session_name)
            except BaseException:
                self._strike_out(target)
                raise
            self.connection_file = str(target)
            self._strike_out(source)

        def _write_down(self, path: Path) -> None:
            if self.ledger is not None and self.session.key:
                self.ledger.add(path, key_print(self.session.key))

        def _strike_out(self, path: Path) -> None:
            if self.ledger is not None:
                self.ledger.remove(path)

    return OwnFileManager


def move_connection_file(source: Path, target: Path, session_name: str) -> None:
    """Move a connection file to a name that is free, and have it name another session. Blocks.

    Raises OSError; nothing is changed then.
    """
    _, data = read_regular(source, MAX_FILE_BYTES)
    try:
        info = json.loads(data)
        info["jupyter_session"] = session_name
    except (ValueError, TypeError) as exc:
        raise OSError(errno.EINVAL, "Not a connection file") from exc
    draft = target.with_name(f".{target.stem}-{secrets.token_hex(8)}.part")
    try:
        write_new(draft, json.dumps(info, indent=2).encode())
        move_new(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        source.unlink()


def _key_in(path: Path) -> bytes | None:
    """The key in a connection file; None if there is no such file, or no key in it.

    Not the number of its inode: that is given to another file as soon as this one is deleted.
    """
    try:
        _, data = read_regular(path, MAX_FILE_BYTES)
        key = json.loads(data)["key"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return key.encode(errors="surrogatepass") if isinstance(key, str) else None
