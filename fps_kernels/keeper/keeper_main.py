"""The keeper's process: from its command line to its end.

It lives as long as it has kernels, or a server is there. Whoever holds the lock of the state folder is the keeper; one
that finds it locked ends at once, as there is one already.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..serving.own_memory import close_memory
from ..serving.rlimits import raise_limit
from .handover import KNOWN, read
from .keeper_folder import BadKeeperFolder, KeeperFolder
from .keeper_service import IDLE_TIMEOUT_S, ORPHAN_TIMEOUT_S, Keeper

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 5 * 1024 * 1024
LOCKED = 3
"""The exit code of one that found another keeper."""


def lock(folder: KeeperFolder) -> int | None:
    """Take the lock of a state folder; returns its descriptor, None if somebody has it."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="fps-kernels keeper", description="Keeps kernels beyond the end of a server.")
    parser.add_argument("--dir", type=Path, help="the state folder")
    parser.add_argument("--orphan-timeout-s", type=float, default=ORPHAN_TIMEOUT_S, help="0: never")
    parser.add_argument("--idle-timeout-s", type=float, default=IDLE_TIMEOUT_S, help="0: never")
    parser.add_argument("--detach", action="store_true", help="go on as a process of its own, once servers can connect")
    parser.add_argument("--resume", type=int, help="go on from the state that this descriptor leads to")
    parser.add_argument("--can-resume", type=int, metavar="FORMAT", help="say whether that could be done")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="the command of a server to run, too")
    options = parser.parse_args(argv)
    if options.can_resume is not None:
        return int(options.can_resume not in KNOWN)
    if options.dir is None:
        parser.error("--dir is needed")
    folder = KeeperFolder(options.dir.absolute())
    try:
        folder.prepare()
    except BadKeeperFolder as exc:
        print(exc.message, file=sys.stderr)
        return 1
    left = read(options.resume) if options.resume is not None else None
    if left is None:
        descriptor = lock(folder)
    else:
        descriptor = left["lock"]
        os.set_inheritable(descriptor, False)
    if descriptor is None:
        if options.serve:
            print(f"{folder.path}: there is a keeper already", file=sys.stderr)
        return LOCKED
    if not options.serve:
        os.chdir(folder.path)  # no other folder is kept from being unmounted
    raise_limit()
    on_ready = detach() if options.detach else lambda: None
    set_up_log(folder.log, also_stderr=bool(options.serve))
    if options.serve:
        close_memory()  # the server's environment may have secrets
    gc.collect()
    gc.freeze()

    async def run() -> int:
        keeper = Keeper(folder, options.orphan_timeout_s, options.idle_timeout_s, options.serve, descriptor)
        return await keeper.run(on_ready, left)

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(run())
    except Exception:
        logger.exception("the keeper failed")
        return 1
    finally:
        os.close(descriptor)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop, where that is installed, as with servers of ours; None for asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def set_up_log(path: Path, *, also_stderr: bool) -> None:
    """Have what is logged written to a file, which is replaced when it is too large."""
    file = logging.handlers.RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    handlers: list[logging.Handler] = [file]
    if also_stderr:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(message)s")


def detach() -> Callable[[], None]:
    """Go on in a new process; returns what is to be called when it is ready, and lets the old one end."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)

    def on_ready() -> None:
        os.write(writing, b"1")
        os.close(writing)

    return on_ready
