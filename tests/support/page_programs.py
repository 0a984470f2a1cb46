"""What stands in the place of some programs while a page's commands are run: it is started under the name of each.

A server is started in the background, on a free port in the place of the page's, and this program ends when the server
answers; another server on the same port ends the one before, as the reader would have to. `pip install` installs
nothing: it looks whether this package has the extras, and whether the environment of the tests has the rest.
`python3 -m venv` makes a folder with these programs. All else is handed on.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

SANDBOX = Path(os.environ.get("PAGE_SANDBOX", "."))
START_TIMEOUT_S = 60
END_TIMEOUT_S = 30
NAMES = ("fps-kernels", "jupyter", "mkdocs", "pip", "prometheus", "python", "python3")
ASKS = (
    "--help",
    "--help-all",
    "--help-options",
    "--version",
    "--generate-config",
    "--show-config",
    "--show-config-json",
)
"""Options with which a server does not serve."""
NOT_SERVERS = ("completion", "keeper", "kernels", "password", "run", "stop")
"""Commands of `fps-kernels` that do not serve."""
INSTALLED_ELSEWHERE = {
    "build": ".ci/run",
    "gateway_provisioners": "not installed by any test",
    "jupyter-collaboration": "tests/support/collaboration.py",
    "jupyterhub": "tests/support/hubs.py",
    "pre-commit": "not installed by any test",
}
"""What the environment of the tests does not have, and where it is tried."""


def main() -> None:
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "pip":
        pretend_to_install(arguments)
    elif name.startswith("python") and arguments[:2] == ["-m", "venv"]:
        make_venv(Path(arguments[-1]), SANDBOX)
    elif is_server(name, arguments):
        serve(name, arguments)
    else:
        replace(name, arguments)


def make_venv(folder: Path, sandbox: Path) -> None:
    """Make a folder with these programs, unless it is there."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        with contextlib.suppress(FileExistsError):
            (folder / "bin" / name).symlink_to(sandbox / "bin" / name)


def replace(name: str, arguments: list[str]) -> NoReturn:
    path = real(name)
    os.execv(path, [path, *arguments])


def real(name: str) -> str:
    """The program itself: that of the tests' environment, or else the system's."""
    folders = [os.environ["PAGE_COMMANDS"], *os.environ["PAGE_PATH"].split(os.pathsep)]
    return next(str(path) for folder in folders if (path := Path(folder, name)).exists())


def pretend_to_install(arguments: list[str]) -> None:
    """Fails as pip would for an extra, or a package, that there is not."""
    assert arguments[0] == "install", arguments
    project = tomllib.loads(Path(os.environ["PAGE_ROOT"], "pyproject.toml").read_text())["project"]
    for word in arguments[1:]:
        requirement, _, more = word.partition("[")
        for extra in filter(None, more.rstrip("]").split(",")):
            if requirement in (".", "fps_kernels") and extra not in project["optional-dependencies"]:
                sys.exit(f"pip: there is no extra {extra}")
        name = re.split("[<>=~!]", requirement)[0]
        if name.startswith((".", "-", "/")) or name in INSTALLED_ELSEWHERE:
            continue
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"pip: {name} is not in the environment of the tests, and not in INSTALLED_ELSEWHERE")


def is_server(name: str, arguments: list[str]) -> bool:
    if set(arguments) & set(ASKS):
        return False
    if name == "fps-kernels":
        return not arguments or arguments[0] not in NOT_SERVERS
    if name == "jupyter":
        return bool(arguments) and (
            arguments[0] in ("lab", "notebook", "fps-kernels") or (arguments[0] == "server" and arguments[1:2] == [])
        )
    return name == "prometheus"


def serve(name: str, arguments: list[str]) -> None:
    """Start a server, and return when it answers. If it ends by itself, that is a failure."""
    options = dict(re.findall(r"--([\w.-]+)[= ](\S+)", " ".join(arguments)))
    default = "9090" if name == "prometheus" else "8888"
    said = options.get("port") or options.get("KernelGatewayApp.port")
    port = said or os.environ[f"PAGE_PORT_{default}"]
    if name == "prometheus":
        arguments = [*arguments, f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={SANDBOX}/prometheus"]
    elif said is None and "sock" not in options:
        arguments = [*arguments, f"--port={port}"]
    end(SANDBOX / "servers" / port)
    log = SANDBOX / "servers" / f"{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [real(name), *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    (SANDBOX / "servers" / port).write_text(str(process.pid))
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(port, log.read_text(errors="replace"), options.get("sock")):
        if process.poll() is not None:
            sys.stderr.write(log.read_text(errors="replace"))
            sys.exit(process.returncode or 1)
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not answer:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def answers(port: str, log: str, sock: str | None) -> bool:
    """Whether a server answers, on a port or, as its log says, on a Unix socket. No page has one that speaks TLS."""
    if sock is not None:
        return Path(sock).exists() and "token=" in log
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in ("/-/ready", "/api", "/healthz"):
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5):
                return True
        except urllib.error.HTTPError as exc:
            if exc.code in (401, 403):
                return True
        except (OSError, ValueError):
            return False
    return False


def end(pid_file: Path) -> None:
    """End a server that this program has started, with all that is in its group."""
    with contextlib.suppress(FileNotFoundError):
        pid = int(pid_file.read_text())
        pid_file.unlink()
        deadline = time.monotonic() + END_TIMEOUT_S
        number: int = signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.killpg(pid, number)
                time.sleep(0.05)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                number = signal.SIGKILL if time.monotonic() > deadline else 0


if __name__ == "__main__":
    main()
