"""Files that hold keys: who else could have written them, and how they are made without touching anybody else's.

Whoever can write to the folder of a connection file can put another one in its place, and then is the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}
"""What filesystems without hard links say, and systems that do not allow them."""


def problem_of(status: os.stat_result) -> str | None:
    """What is wrong with a file or folder that only its owner should be able to write to, in words; None if nothing is.

    It must be ours or root's. A sticky bit does not help: others could still be there first.
    """
    if not hasattr(os, "geteuid"):  # Windows, whose permissions are not these
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user ({status.st_uid})"
    if status.st_mode & OTHERS_WRITE:
        return f"can be written to by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def folder_problem(folder: Path) -> str | None:
    """What is wrong with a folder for files that hold keys, in words; None if nothing is, or if it does not exist yet.

    Each folder above it counts, too, where anybody may rename what is in it. Those with a sticky bit, such as /tmp, are
    no danger to a folder that is ours.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.stat()  # from Python 3.13 on, resolve() takes a circle of links for a folder
        real = folder.resolve()
        if real.exists():
            if not real.is_dir():
                return "is not a folder"
            if problem := problem_of(real.stat()):
                return problem
        for parent in {*real.parents, *folder.absolute().parents}:
            if parent.exists():
                mode = parent.stat().st_mode
                if hasattr(os, "geteuid") and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                    return f"is below {parent}, in which everybody can rename it"
    except (OSError, RuntimeError) as exc:  # a circle of links
        return f"cannot be looked at: {exc}"
    return None


def link(source: Path, target: Path) -> None:
    """Give a file a second name. Raises OSError, also where Python cannot do that."""
    if not hasattr(os, "link"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.link(source, target)


def move_new(source: Path, target: Path) -> None:
    """Move a file to a name that is free: atomically, and with its content from the first moment.

    Raises FileExistsError when the name is taken, also by a link that leads nowhere; nothing is changed then.
    """
    try:
        link(source, target)
    except FileExistsError:
        raise
    except OSError as exc:
        if exc.errno not in NO_LINKS:
            raise
        write_new(target, source.read_bytes())
    source.unlink()


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only we can read, under a name that is free. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


class NotRegular(OSError):
    """A path leads to something that is no regular file."""


def read_regular(path: Path, max_bytes: int) -> tuple[os.stat_result, bytes]:
    """Read a regular file, of which at most `max_bytes` + 1 bytes are returned, without following a link.

    What is looked at is what is read: the file cannot be exchanged in between. Raises OSError; a FIFO or a device does
    not block.
    """
    names = ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")  # those that the system has
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in names))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(errno.EINVAL, "Not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return status, file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
