"""A stock Jupyter Server for the tests: a process that finds our extension as it is installed, with tiny kernels."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from .gateways import environment
from .nursery import nursery
from .ports import free_port
from .processes import ServerProcess

COMMAND = str(Path(sys.executable).parent / "jupyter-server")
OPEN = ("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True")
"""No token, which most tests have no use for."""
NOT_NEEDED = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook_shim")
"""Extensions that take longer to start than the server."""


OURS = "--FpsMappingKernelManager.{}={}"
THEIRS = {
    "allow_origin": "--ServerApp.allow_origin={[0]}",
    "allowed_message_types": "--MappingKernelManager.allowed_message_types={}",
    "iopub_data_rate_limit": "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit={}",
    "iopub_msg_rate_limit": "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit={}",
    "rate_limit_window_s": "--ZMQChannelsWebsocketConnection.rate_limit_window={}",
    "restart_limit": "--KernelRestarter.restart_limit={}",
    "shutdown_wait_time_s": "--KernelManager.shutdown_wait_time={}",
    "startup_timeout_s": "--MappingKernelManager.kernel_info_timeout={}",
}
"""The options of ours that jupyter_server has itself, as it calls them."""


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

    root: the folder of its contents. share: where its kernelspecs are. log: what it writes to stdout and stderr.
    url: without a slash at its end.
    """

    def __init__(self, base: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.root = base / "root"
        self.root.mkdir(parents=True)
        self.runtime = base / "runtime"
        self.share = base / "share"
        self.log = base / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            COMMAND,
            "--allow-root",
            "--no-browser",
            f"--port={self.port}",
            "--port-retries=0",
            *stock_options(options),
        ]
        if not any("jpserver_extensions" in option for option in options):
            command.append(f"--ServerApp.jpserver_extensions={dict.fromkeys(NOT_NEEDED, False)}")
        self.process = nursery.start(command, env=environment(base, **(env or {})), cwd=self.root, log=self.log)

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Until it answers."""
        deadline = time.monotonic() + timeout_s
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/api", timeout=5, trust_env=False)
                return
            time.sleep(0.05)


BeginStock = Callable[..., StockServer]


@contextlib.contextmanager
def stock_servers(base: Path) -> Iterator[BeginStock]:
    """Begin servers that answer when they are returned, in folders below `base`; all are ended at the end."""
    begun: list[StockServer] = []

    def begin(*options: str, env: dict[str, str] | None = None, open_to_all: bool = True) -> StockServer:
        server = StockServer(base / f"server{len(begun)}", *(OPEN if open_to_all else ()), *options, env=env)
        begun.append(server)
        server.wait_ready()
        return server

    try:
        yield begin
    finally:
        for server in begun:
            server.stop()
