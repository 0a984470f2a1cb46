"""`jupyverse` with our component, for the tests: a process, started as its users start it, with tiny kernels."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .kept_mode import own_keeper
from .kernelspecs import install_kernelspecs
from .nursery import Nursery, nursery
from .ports import free_port
from .processes import ServerProcess

# What the tests of the kernels API do not need; without it a server starts in a second.
NOT_NEEDED = ("contents", "jupyterlab", "lab", "nbconvert", "terminals", "yjs")


TOKEN = "the-token-of-the-tests"
"""What a server with all components asks for."""

# What shared documents do not need: "contents" and "yjs" are what they are made of.
NOT_NEEDED_BY_DOCUMENTS = ("jupyterlab", "lab", "nbconvert", "terminals")


@dataclass(frozen=True)
class Generation:
    """A generation of Jupyverse, in an environment of its own.

    commands: the folder of its commands. nursery: what forks its servers.
    not_needed: plugins that the tests of the kernels API do not need.
    arguments: what all of its servers are given, unless a test gives it.
    interrupted: the exit code after SIGINT.
    """

    commands: Path
    nursery: Nursery
    not_needed: Sequence[str]
    arguments: Sequence[str] = ()
    interrupted: int = 1


ASPHALT = Generation(Path(sys.executable).parent, nursery, NOT_NEEDED)


def jupyverse(
    base: Path, port: int, *arguments: str, full: bool = False, disable: Sequence[str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a server whose files are all below `base`.

    disable: plugins that it goes without; None for those that most tests do not need. full: with all of them, as
    `fps-kernels lab`, whose users have a browser.
    """
    generation = Server.generation
    commands = generation.commands
    disable = generation.not_needed if disable is None else disable
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_"))}
    environ |= {
        "HOME": str(base),
        "IPYTHONDIR": str(base / "ipython"),
        "JUPYTER_PATH": str(base / "share"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "PATH": f"{commands}:{environ['PATH']}",
    }
    if not full and not any("kernels.prewarm" in argument for argument in arguments):
        arguments = (*arguments, *options(prewarm=0))  # a kernel that nobody wants costs a second
    if not full and not any("kernels.start_answer_s" in argument for argument in arguments):
        arguments = (*arguments, *options(start_answer_s=10))  # most tests want a kernel that is ready
    if full:
        environ["FPS_KERNELS_TOKEN"] = TOKEN
        return [str(commands / "fps-kernels"), "lab", "--port", str(port), *arguments], environ
    if not set(generation.arguments[::2]) & set(arguments):
        arguments = (*arguments, *generation.arguments)
    disabled = [word for name in disable for word in ("--disable", name)]
    return [str(commands / "jupyverse"), "--port", str(port), *disabled, *arguments], environ


def options(**values: Any) -> list[str]:
    """Arguments that set options of the component."""
    return [word for name, value in values.items() for word in ("--set", f"kernels.{name}={json.dumps(value)}")]


class Server(ServerProcess):
    """A `jupyverse` process with our component, in folders of its own.

    generation: which Jupyverse it is; the tests of another one set it.
    """

    generation = ASPHALT

    def __init__(
        self,
        base: Path,
        *arguments: str,
        full: bool = False,
        disable: Sequence[str] | None = None,
        env: dict[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.root = base / "root"
        self.runtime = base / "runtime"
        self.share = base / "share"
        self.log = base / "server.log"
        for folder in (self.root, self.runtime):
            folder.mkdir(parents=True, exist_ok=True)  # of one that was killed
        if not self.share.exists():
            install_kernelspecs(self.share)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keeper = own_keeper(arguments, env or {})
        if self.keeper is not None:
            arguments = (*arguments, *options(keep_kernels="crash", state_dir=str(self.keeper.folder)))
        command, environ = jupyverse(base, self.port, *arguments, full=full, disable=disable)
        environ |= env or {}
        self.process = self.generation.nursery.start(command, env=environ, cwd=self.root, log=self.log)

    def ask(self) -> None:
        httpx.get(f"{self.url}/api", timeout=5, trust_env=False)


Launch = Callable[..., Server]
