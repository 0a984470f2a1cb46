"""The command `fps-kernels keeper`: what a keeper holds, and how it is ended."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ..errors import FPSKernelsError
from ..keeper.keeper_folder import KeeperFolder
from ..log_text import printable
from ..state_folder import STATE_DIR_HELP, state_dir_path
from .keeper_cgroup import control_group
from .keeper_client import KeeperClient, OtherProtocol, RefusedByKeeper
from .kept_process import forget

STOP_TIMEOUT_S = 30.0
"""Seconds within which a keeper has ended its kernels and itself."""
WAIT_S = 60
"""Seconds for which a keeper that is to be replaced waits until all kernels are idle, if nothing else is said."""
RESTART_TIMEOUT_S = 60.0
"""Seconds within which it is replaced then."""
LOOK_S = 0.05


class NoKeeper(FPSKernelsError):
    """There is no keeper that could be asked."""


def main(argv: Sequence[str]) -> None:
    """Run a keeper, say what it holds, replace or end it. Raises FPSKernelsError."""
    parser = keeper_parser()
    own, dashes, words = partition(argv)
    options, more = parser.parse_known_args(own)
    if fcntl is None:
        raise NoKeeper("On this system kernels cannot outlive their server")
    path = state_dir_path(options.dir)
    if options.command == "run" and options.serve:
        run(path, [*more, "--serve", *server_command(path, words, os.environ)])
    if dashes or options.serve or (more and options.command != "run"):
        parser.error(f"unrecognized arguments: {' '.join([*more, *words]) or '--serve'}")
    if options.command == "run":
        run(path, more)
    folder = KeeperFolder(path)
    if not is_locked(folder):
        raise NoKeeper(f"There is no keeper in {folder.path}")
    match options.command:
        case "status":
            print(asyncio.run(status(folder)))
        case "restart":
            print(asyncio.run(restart(folder, now=options.now, wait_s=options.wait)))
        case _:
            print(asyncio.run(stop(folder)))


def keeper_parser() -> argparse.ArgumentParser:
    """The words that the command takes."""
    parser = argparse.ArgumentParser("fps-kernels keeper", description="The process that keeps kernels.")
    parser.add_argument("command", choices=["run", "status", "restart", "stop"])
    parser.add_argument("--state-dir", "--dir", dest="dir", metavar="FOLDER", help=STATE_DIR_HELP)
    parser.add_argument(
        "--serve", action="store_true", help="with run: run a server, too, whose options or command come after --"
    )
    parser.add_argument("--now", action="store_true", help="with restart: do not wait until all kernels are idle")
    parser.add_argument(
        "--wait",
        type=int,
        default=WAIT_S,
        metavar="SECONDS",
        help="with restart: how long to wait for that (%(default)s)",
    )
    return parser


def partition(argv: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """The words before `--`, whether there is one, and those after it."""
    if "--" not in argv:
        return list(argv), False, []
    at = list(argv).index("--")
    return list(argv[:at]), True, list(argv[at + 1 :])


def run(folder: Path, options: Sequence[str]) -> NoReturn:
    """Become a keeper: nothing of what this command imports is needed by one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "fps_kernels.keeper", "--dir", str(folder), *options])


def server_command(folder: Path, words: Sequence[str], environ: MutableMapping[str, str]) -> list[str]:
    """The command of a server that leaves its kernels to the keeper of a folder; changes its environment.

    words: options of the gateway, or the command `lab` with its options. What they say counts more.
    Raises NoKeeper.
    """
    ours = []
    if words and words[0] == "lab":
        ours = ["lab", f"--set=kernels.state_dir={json.dumps(str(folder))}", "--set=kernels.keep_kernels=always"]
        words = words[1:]
    elif words and not words[0].startswith("-"):
        raise NoKeeper(f"--serve: {words[0]} is no server; options of the gateway or `lab` can come after --")
    else:
        environ.update({"KG_STATE_DIR": str(folder), "KG_KEEP_KERNELS": environ.get("KG_KEEP_KERNELS") or "always"})
    program = shutil.which(sys.argv[0])
    code = "from fps_kernels.gateway.app import main; main()"
    return [*([os.path.abspath(program)] if program else [sys.executable, "-P", "-c", code]), *ours, *words]


def is_locked(folder: KeeperFolder) -> bool:
    """Whether a keeper lives."""
    try:
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


async def status(folder: KeeperFolder) -> str:
    """What the keeper is, in two lines, and what it holds, in a line for each kernel. Raises KeeperUnavailable."""
    keeper = KeeperClient(folder)
    await keeper.start()
    try:
        kernels = (await keeper.call("kernels"))["kernels"]
    finally:
        await keeper.leave()
    pid = keeper.hello["pid"]
    head = f"keeper {keeper.uuid} in {folder.path}: {counted(len(kernels))}"
    what = f"version {keeper.hello['version']}, pid {pid}, control group {control_group(pid) or '(not known)'}"
    return "\n".join([head, what, *map(line_of, kernels)])


def line_of(summary: Mapping[str, Any]) -> str:
    """A line about a kernel."""
    facts = summary["facts"].get("process", {})
    state = f"pid {summary['pid']}" if summary["running"] else "has ended"
    kept = f"{summary['bytes'] / (1 << 20):.1f} MiB kept, {summary['unfinished']} requests run"
    return printable(f"{summary['kernel']}  {facts.get('kernel_name', '?')}  {state}  {kept}")


async def stop(folder: KeeperFolder) -> str:
    """End the keeper and its kernels; returns what is said of that. Raises KeeperUnavailable, NoKeeper."""
    keeper = KeeperClient(folder)
    try:
        await keeper.start()
    except OtherProtocol as other:
        count = other.answer["kernels"]
        os.kill(other.answer["pid"], signal.SIGTERM)
    else:
        count = len((await keeper.call("kernels"))["kernels"])
        keeper.tell("stop")
        await keeper.leave()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            raise NoKeeper(f"The keeper in {folder.path} has not ended within {STOP_TIMEOUT_S:g} s")
        await asyncio.sleep(LOOK_S)
    return f"The keeper in {folder.path} has ended, with {counted(count)}"


async def restart(folder: KeeperFolder, *, now: bool, wait_s: int) -> str:
    """Have the keeper replaced by this version; returns what is said of that. Raises KeeperUnavailable, NoKeeper."""
    keeper = KeeperClient(folder)
    await keeper.start()
    before = keeper.hello
    try:
        answer = await keeper.call(
            "restart", timeout_s=wait_s + RESTART_TIMEOUT_S, python=sys.executable, now=now, wait_s=wait_s
        )
        count = len((await keeper.call("kernels"))["kernels"])
    except RefusedByKeeper as exc:
        if "unknown call" not in exc.message:
            raise
        raise NoKeeper(
            f"The keeper in {folder.path} is of {before['version']}, which cannot be replaced while it runs: "
            "`fps-kernels keeper stop` ends it, and its kernels"
        ) from exc
    finally:
        await keeper.leave()
    return f"The keeper in {folder.path}, pid {before['pid']}, is of {answer['version']} now, with {counted(count)}"


async def forget_in(folder: KeeperFolder, kernel_id: str) -> None:
    """Have the keeper of a folder, if one lives, forget a kernel, and end its process. Raises KeeperUnavailable."""
    if is_locked(folder):
        keeper = KeeperClient(folder)
        await keeper.start()
        forget(keeper, kernel_id)
        await keeper.leave()


def counted(kernels: int) -> str:
    """A number of kernels, in words."""
    return "1 kernel" if kernels == 1 else f"{kernels} kernels"
