"""A stock Jupyter Server for the tests: a process that finds our extension as it is installed, with tiny kernels."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jupyter_server
import pytest

from .gateways import environment
from .kept_mode import own_keeper
from .nursery import begin_alone, nursery
from .ports import free_port
from .processes import ServerProcess

OPEN = ("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True")
"""No token, which most tests have no use for."""
NOT_NEEDED = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook_shim")
"""Extensions that take longer to start than the server."""


OURS = "--FpsMappingKernelManager.{}={}"
THEIRS = {
    "allow_external_kernels": "--ServerApp.allow_external_kernels={}",
    "allow_origin": "--ServerApp.allow_origin={[0]}",
    "allowed_message_types": "--MappingKernelManager.allowed_message_types={}",
    "external_connection_dir": "--ServerApp.external_connection_dir={}",
    "iopub_data_rate_limit": "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit={}",
    "iopub_msg_rate_limit": "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit={}",
    "rate_limit_window_s": "--ZMQChannelsWebsocketConnection.rate_limit_window={}",
    "restart_limit": "--KernelRestarter.restart_limit={}",
    "shutdown_wait_time_s": "--KernelManager.shutdown_wait_time={}",
    "startup_timeout_s": "--MappingKernelManager.kernel_info_timeout={}",
}
"""The options of ours that jupyter_server has itself, as it calls them."""


def since(version: str) -> pytest.MarkDecorator:
    """Mark a test of what a Jupyter Server has since a version, such as `2.21`."""
    wanted = tuple(map(int, version.split(".")))
    return pytest.mark.skipif(jupyter_server.version_info[: len(wanted)] < wanted, reason=f"Jupyter Server < {version}")


def stock_options(arguments: Sequence[str]) -> list[str]:
    """The arguments of a server of ours (see servers.options) as those of a stock one; others stay as they are."""
    found, rest = [], iter(arguments)
    for argument in rest:
        if argument != "--set":
            found.append(argument)
            continue
        name, _, value = next(rest).removeprefix("kernels.").partition("=")
        template = THEIRS.get(name)
        found.append(template.format(json.loads(value)) if template else OURS.format(name, json.loads(value)))
    return found


class StockServer(ServerProcess):
    """A process of `jupyter server`, in folders of its own.

    program: `jupyter-lab` or `jupyter-notebook`, with all their extensions, for the tests that use a browser.
    root: the folder of its contents. share: where its kernelspecs are. log: what it writes to stdout and stderr.
    url: without a slash at its end.
    venv: another environment than that of the tests.
    """

    def __init__(
        self,
        base: Path,
        *options: str,
        env: dict[str, str] | None = None,
        venv: Path | None = None,
        program: str = "jupyter-server",
        log: str = "server.log",
        port: int | None = None,
    ) -> None:
        self.root = base / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.runtime = base / "runtime"
        self.share = base / "share"
        self.log = base / log
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        commands = venv / "bin" if venv is not None else Path(sys.executable).parent
        command = [
            str(commands / program),
            "--allow-root",
            "--no-browser",
            *self.place(),
            *stock_options(options),
        ]
        if not any("prewarm" in option for option in options):
            command.append(OURS.format("prewarm", 0))  # a kernel that nobody wants costs a second
        if program == "jupyter-server" and not any("jpserver_extensions" in option for option in options):
            command.append(f"--ServerApp.jpserver_extensions={dict.fromkeys(NOT_NEEDED, False)}")
        self.keeper = own_keeper(options, env or {})
        if self.keeper is not None:
            command += [OURS.format("keep_kernels", "crash"), OURS.format("state_dir", self.keeper.folder)]
        environ = environment(base, **(env or {}))
        if venv is None:
            self.process = nursery.start(command, env=environ, cwd=self.root, log=self.log)
        else:
            environ["PATH"] = f"{commands}:{environ['PATH']}"
            self.process = begin_alone(command, env=environ, cwd=self.root, log=self.log)

    def place(self) -> list[str]:
        """The options that say where it listens."""
        return [f"--port={self.port}", "--port-retries=0"]

    def ask(self) -> None:
        httpx.get(f"{self.url}/api", timeout=5, trust_env=False)


def begin_stock_pages(base: Path, program: str, token: str) -> StockServer:
    """`jupyter-lab` or `jupyter-notebook` as its users start it, without the question whether they want news."""
    settings = base / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    # jupyter-collaboration's pages may be in this environment, for another host, without its part of the server.
    config = base / "config" / "labconfig"
    config.mkdir(parents=True)
    off = dict.fromkeys(("@jupyter/collaboration-extension", "@jupyter/docprovider-extension"), True)
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": off}))
    return StockServer(base, f"--IdentityProvider.token={token}", program=program)


BeginStock = Callable[..., StockServer]


@contextlib.contextmanager
def stock_servers(base: Path, venv: Path | None = None) -> Iterator[BeginStock]:
    """Begin servers that answer when they are returned, in folders below `base`; all are ended at the end.

    venv: see StockServer.
    """
    begun: list[StockServer] = []

    def begin(*options: str, open_to_all: bool = True, **more: Any) -> StockServer:
        arguments = (*(OPEN if open_to_all else ()), *options)
        server = StockServer(base / f"server{len(begun)}", *arguments, venv=venv, **more)
        begun.append(server)
        server.wait_ready(timeout_s=300 if venv else 60)  # a process that is not forked imports everything itself
        return server

    try:
        yield begin
    finally:
        for server in begun:
            server.stop()
