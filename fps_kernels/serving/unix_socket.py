"""A Unix socket to listen on: a file, which only those reach who may write to it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ..errors import BadOption

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAX_PATH_BYTES = 107
"""What Linux has room for in an address."""
DEFAULT_MODE = "0600"
LOCK_TRIES = 100
LOCK_PAUSE_S = 0.02
"""Between the tries. A stranger may hold the lock of a folder such as /tmp; then it is done without."""
_MODE = re.compile(r"0?[0-7]{3}")


def absolute_path(path: str) -> str:
    """The path of a socket, as an option has it, from the root on; "" for none."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def parse_mode(text: str, option: str) -> int:
    """The permissions of a socket's file from an octal number, such as 0660. Raises BadOption."""
    mode = int(text, 8) if _MODE.fullmatch(text) else 0
    if mode & 0o600 != 0o600:
        raise BadOption(f"{option}={text}: not permissions in octal digits that let the owner read and write, as 0660")
    return mode


def bind_unix(path: str, mode: int) -> socket.socket:
    """A socket that listens at a path. The file that a dead server has left there is replaced.

    Raises BadOption where something else is: another file, or a server that listens.
    """
    if fcntl is None or not hasattr(socket, "AF_UNIX"):
        raise BadOption(f"sock={path}: this system, or its Python, has no Unix sockets")
    where = Path(path)
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise BadOption(f"sock={path}: longer than {MAX_PATH_BYTES} bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(where.parent):
            _remove_leftover(where)
            before = os.umask(0o777 & ~mode)  # there is no moment at which others could connect
            try:
                sock.bind(path)
            finally:
                os.umask(before)
            where.chmod(mode)
            sock.listen(1024)
    except OSError as exc:
        sock.close()
        raise BadOption(f"sock={path}: {exc.strerror or exc}") from exc
    except BadOption:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


@contextlib.contextmanager
def removed_at_end(path: str) -> Iterator[None]:
    """Remove the file of a socket at the end, unless another server has put its own there by then."""
    made = os.stat(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError), _locked(Path(path).parent):
            now = os.stat(path)
            if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                os.unlink(path)


def is_unix(sock: socket.socket) -> bool:
    return sock.family == getattr(socket, "AF_UNIX", None)


def host_of(path: str) -> str:
    """What clients for Unix sockets send as Host, and write into URLs: the path, percent-encoded."""
    return quote(path, safe="")


def _remove_leftover(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises OSError, and BadOption for what is no such thing."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BadOption(f"sock={path}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # so many wait there that this one would have to
            raise BadOption(f"sock={path}: another server listens there") from None
    raise BadOption(f"sock={path}: another server listens there")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two servers that start together from removing each other's socket."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_PAUSE_S)
        yield
    finally:
        os.close(descriptor)
