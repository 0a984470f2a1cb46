"""Finds the keeper of a state folder, or starts one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import KernelFailure
from ..keeper.keeper_folder import KeeperFolder

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=asyncio.BaseProtocol)

START_TIMEOUT_S = 5.0
"""Seconds within which a keeper must listen."""
RETRY_S = 0.05
"""Interval between two attempts to connect to one that another server starts."""
PASSED_ON = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"}
)
"""The variables that a keeper gets, beside those of the locale and of Python. A server has others that it must not
keep: secrets, and what ties it to whoever has started it. Kernels get theirs with each launch."""
PASSED_ON_PREFIXES = ("LC_", "PYTHON")


class KeeperUnavailable(KernelFailure):
    """The process that keeps kernels cannot be reached, or does not answer."""

    status = 503


def keeper_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a keeper that is started by a process with this one."""
    return {
        name: value
        for name, value in environ.items()
        if name in PASSED_ON or (name.startswith(PASSED_ON_PREFIXES) and name != "PYTHONHASHSEED")
    }


async def find_or_start(
    folder: KeeperFolder, make: Callable[[], P], orphan_timeout_s: float, timeout_s: float = START_TIMEOUT_S
) -> P:
    """Connect to the keeper of a folder, which is started if there is none. Raises KeeperUnavailable, BadKeeperFolder.

    make: makes the protocol of the connection.
    Of several servers that do this at once, one starts the keeper, and all come to that.
    """
    await asyncio.to_thread(folder.prepare)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    return (await loop.create_unix_connection(make, str(folder.socket)))[1]
                await asyncio.to_thread(_start, folder, orphan_timeout_s, timeout_s)
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    return (await loop.create_unix_connection(make, str(folder.socket)))[1]
                await asyncio.sleep(RETRY_S)
    except TimeoutError as exc:
        raise KeeperUnavailable(f"The process that keeps kernels did not start within {timeout_s:g} s") from exc
    except OSError as exc:
        raise KeeperUnavailable(f"The process that keeps kernels cannot be reached: {exc.strerror}") from exc


def _start(folder: KeeperFolder, orphan_timeout_s: float, timeout_s: float) -> None:
    """Start a keeper, and wait until it listens, or has found that there is one. Blocks. Raises OSError."""
    command = [sys.executable, "-m", "fps_kernels.keeper", "--detach", "--dir", str(folder.path)]
    with open(folder.log, "ab", opener=_private) as log:
        done = subprocess.Popen(
            [*command, "--orphan-timeout-s", f"{orphan_timeout_s:g}"],
            env=keeper_environment(os.environ),
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = done.wait(timeout_s)
        except subprocess.TimeoutExpired:
            done.kill()
            code = done.wait()
    logger.debug("the start of a keeper in %s ended with %d", folder.path, code)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
