"""The folder of what outlives a server: this user's alone, on this machine, and looked at without following links.

What is in it ends with this machine's kernels, so a folder in memory is right, and one that other machines see is not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .errors import BadOption
from .private_files import folder_problem

NAME = "fps-kernels"
STATE_DIR_HELP = "folder of what outlives servers (default: $XDG_RUNTIME_DIR/fps-kernels, or /tmp/fps-kernels-UID)"
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p"}
)
"""Where locks, and what is mapped into memory, say nothing of what other machines do. 9p is how a host's folders come
into virtual machines, and has neither."""
MOUNTS = Path("/proc/self/mountinfo")


def default_state_dir() -> Path:
    """The folder if no option names one: below $XDG_RUNTIME_DIR if that is this user's, else in /tmp. Never below a
    home, which several machines may share."""
    uid = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        try:
            status = os.stat(runtime)
        except OSError:  # as in a container, or where nobody has logged in
            return Path(f"/tmp/{NAME}-{uid}")
        if stat.S_ISDIR(status.st_mode) and status.st_uid == uid:  # that of another user stays there with sudo -E
            return Path(runtime, NAME)
    return Path(f"/tmp/{NAME}-{uid}")


def state_dir_path(state_dir: str | None) -> Path:
    """The folder that an option names, which need not exist; empty or None: the default one."""
    return default_state_dir() if not state_dir else Path(os.path.abspath(os.path.expanduser(state_dir)))


def open_state_folder(state_dir: str | None) -> Path:
    """Make the folder if need be, and return its path. May block. Raises BadOption, if it is not fit for secrets."""
    folder = state_dir_path(state_dir)
    try:
        folder.mkdir(mode=0o700, parents=bool(state_dir), exist_ok=True)
    except FileExistsError:
        pass  # a file, or a link that leads nowhere, of which there is more to say
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise BadOption(f"state_dir={folder}: {getattr(exc, 'strerror', None) or exc}") from exc
    if problem := _problem(folder):
        raise BadOption(f"state_dir={folder}: {problem}. Name a folder of your own on this machine, mode 0700")
    return folder


def _problem(folder: Path) -> str | None:
    """Why the folder cannot be used, in words; None if it can."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder, flags)
    except OSError as exc:
        if folder.is_symlink():
            return "it is a link"
        return f"it cannot be opened: {exc.strerror}"
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if status.st_uid != os.geteuid():
        return f"it belongs to another user ({status.st_uid})"
    if status.st_mode & 0o077:
        return f"others can look into it (mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_mode & 0o700 != 0o700:
        return f"its owner may not do everything in it (mode {stat.S_IMODE(status.st_mode):04o})"
    if problem := folder_problem(folder):
        return f"it {problem}"
    if kind := network_filesystem(status.st_dev, _mounts()):
        return f"it is on a filesystem that other machines may share ({kind})"
    return None


def _mounts() -> list[str]:
    """What is mounted, a line each; nothing where the system does not say."""
    try:
        return MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return []


def network_filesystem(device: int, mounts: Iterable[str]) -> str | None:
    """The type of the filesystem that has this device number, if it is one of NETWORK_FILESYSTEMS.

    mounts: lines as in /proc/self/mountinfo, see proc_pid_mountinfo(5). Those that are none are skipped.
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts:
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 2 and fields[2] == number:
            kind = after.split(" ")[0]
            return kind if kind in NETWORK_FILESYSTEMS else None
    return None
