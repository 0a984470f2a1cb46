"""Files with secrets: read only if they are no one else's, made so that no one else can read them."""

from __future__ import annotations

import logging
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from ...errors import BadOption
from ...private_files import read_regular

logger = logging.getLogger(__name__)

MAX_BYTES = 4_096
COOKIE_SECRET_FILE = "fps_kernels_cookie_secret"
"""The name of the file in Jupyter's runtime folder with the key of cookies."""
COOKIE_SECRET_BYTES = 32
TOKEN_BYTES = 24
TOKEN = re.compile(r"[0-9a-f]{48}")
"""A token that a server has made."""


def read_secret(path: str, option: str) -> str:
    """The secret in a file, without white space around it.

    option: the name of the option that names the file.
    Raises BadOption if the file cannot be read, is empty or too large, or if its contents are no text.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise BadOption(f"{option}={path}: {getattr(exc, 'strerror', None) or exc}") from exc
    try:
        text = data.decode().strip()
    except UnicodeDecodeError as exc:
        raise BadOption(f"{option}={path}: not UTF-8") from exc
    if not text or len(data) > MAX_BYTES:
        raise BadOption(f"{option}={path}: {'longer than 4 KiB' if text else 'empty'}")
    if stat.S_ISREG(mode) and mode & 0o007:
        logger.warning("%s=%s: every user of this machine can read or change this file; chmod 600 it", option, path)
    return text


def write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read, in the place of one that may be there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise


def kept_token(path: Path) -> str:
    """A token that is the same at each start, from a file that is made if need be. Clients get in again with it.

    A file that others can read or have made is not used: there is a new token then, and it is written in its place.
    """
    try:
        with suppress(FileNotFoundError):  # at the first start
            status, data = read_regular(path, MAX_BYTES)
            is_private = not status.st_mode & 0o077 and status.st_uid == os.geteuid()
            if is_private and (token := data.decode("ascii", "replace").strip()) and TOKEN.fullmatch(token):
                return token
    except OSError as exc:
        logger.warning("Cannot read %s: %s", path, exc.strerror)
    token = secrets.token_hex(TOKEN_BYTES)
    try:
        write_private(path, f"{token}\n".encode())
    except OSError as exc:
        logger.warning("Cannot write %s (%s): the token lasts until the server ends", path, exc.strerror)
    return token


def cookie_secret(path: Path) -> bytes:
    """The key that cookies are signed with, from a file that is made if need be.

    A file that others can read or have made is not used: there is a new key then, and it is written in its place. If
    that fails, the key lasts as long as this process, and so do logins.
    """
    try:
        with suppress(FileNotFoundError):  # at the first start
            status, data = read_regular(path, COOKIE_SECRET_BYTES)
            is_private = not status.st_mode & 0o077 and status.st_uid == os.geteuid()
            if is_private and len(data) == COOKIE_SECRET_BYTES:
                return data
    except OSError as exc:
        logger.warning("Cannot read %s: %s", path, exc.strerror)
    key = secrets.token_bytes(COOKIE_SECRET_BYTES)
    try:
        write_private(path, key)
    except OSError as exc:
        logger.warning("Cannot write %s (%s): logins last until the server ends", path, exc.strerror)
    return key
