"""JupyterHub for the tests: a hub and its proxy, whose users have servers with our extension and tiny kernels."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .client import Client
from .kernelspecs import install_kernelspecs
from .ports import free_port
from .processes import ServerProcess
from .programs import lack_unless_required, need
from .venvs import INSTALL_TIMEOUT_S, make_venv
from .waits import until

PROXY = "configurable-http-proxy@5"
OPERATOR = "token-of-the-tests"
"""What the tests ask the hub with."""

CONFIGURATION = '''
import sys

c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {base!r} + "/homes/{{username}}"
c.Spawner.cmd = [sys.prefix + "/bin/jupyterhub-singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 240
c.Spawner.environment = {{
    # Users whose names begin so have the older kind of server.
    "JUPYTERHUB_SINGLEUSER_EXTENSION": lambda spawner: str(int(not spawner.user.name.startswith("mixin"))),
    "JUPYTERHUB_ACTIVITY_INTERVAL": "1",
    "JUPYTER_PATH": {share!r},
}}


def set_up(spawner):
    """JupyterHub's older kind of server wants a page's XSRF cookie even of who has a token, whatever its kernels."""
    if spawner.user.name.startswith("mixin"):
        spawner.args = [*spawner.args, "--ServerApp.disable_check_xsrf=True"]


c.Spawner.pre_spawn_hook = set_up
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.services = [{{"name": "tests", "api_token": {operator!r}}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"],
    }}
]
'''


@dataclass(frozen=True)
class HubPrograms:
    """The commands `jupyterhub`, whose environment has our extension, and `configurable-http-proxy`."""

    hub: Path
    proxy: Path


def hub_programs(folder: Path) -> HubPrograms:
    """Install the programs into folders of their own, below `folder`; a test is skipped unless that is asked for."""
    lack_unless_required("JupyterHub is installed for its tests, which takes a minute")
    npm = need("npm")
    commands = make_venv(folder / "venv", "jupyterhub>=5", "ipykernel")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), PROXY]
    done = subprocess.run(install, timeout=INSTALL_TIMEOUT_S, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return HubPrograms(commands / "jupyterhub", folder / "node_modules" / ".bin" / "configurable-http-proxy")


class Hub(ServerProcess):
    """A process of `jupyterhub`, which begins its proxy and the servers of its users; all files are below `base`."""

    def __init__(self, base: Path, programs: HubPrograms) -> None:
        self.base = base
        self.runtime = base / "homes"  # of all users
        self.log = base / "hub.log"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        install_kernelspecs(base / "share")
        configuration = base / "jupyterhub_config.py"
        configuration.write_text(
            CONFIGURATION.format(
                base=str(base),
                share=str(base / "share"),
                port=port,
                hub_port=free_port(),
                proxy_port=free_port(),
                proxy=str(programs.proxy),
                operator=OPERATOR,
            )
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        environ |= {"HOME": str(base), "PATH": f"{programs.hub.parent}:{environ['PATH']}"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(programs.hub), "-f", str(configuration)], cwd=base, env=environ, stdout=log, stderr=log
            )

    def ask(self) -> None:
        httpx.get(f"{self.url}/hub/api", timeout=5, trust_env=False).raise_for_status()  # 503 until it has its proxy

    def operator(self) -> httpx.AsyncClient:
        """Who may all that the hub's REST API has for users and servers."""
        return httpx.AsyncClient(
            base_url=f"{self.url}/hub/api",
            headers={"Authorization": f"token {OPERATOR}"},
            timeout=60,
            trust_env=False,
        )

    async def user(self, name: str) -> Any:
        """What the hub knows of a user."""
        async with self.operator() as operator:
            return (await operator.get(f"/users/{name}")).json()

    async def token(self, name: str) -> str:
        """A token of a user, who is made if need be."""
        async with self.operator() as operator:
            await operator.post(f"/users/{name}")  # 409 for one that there is
            answer = await operator.post(f"/users/{name}/tokens", json={"expires_in": 3600})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["token"])

    async def start_server(self, name: str) -> None:
        """Start a user's server; returns when it is ready."""
        async with self.operator() as operator:
            answer = await operator.post(f"/users/{name}/server")
            assert answer.status_code in (201, 202), answer.text

        async def is_ready() -> bool:
            return bool((await self.user(name))["servers"].get("", {}).get("ready"))

        await until(is_ready, 240, every_s=0.2)

    async def stop_server(self, name: str) -> None:
        """Stop a user's server; returns when the hub has no server of theirs."""
        async with self.operator() as operator:
            answer = await operator.delete(f"/users/{name}/server")
            assert answer.status_code in (202, 204), answer.text

        async def is_gone() -> bool:
            return not (await self.user(name))["servers"]

        await until(is_gone, 120, every_s=0.2)

    def client(self, name: str, token: str) -> Client:
        """A client of a user's server, through the proxy."""
        client = Client(f"{self.url}/user/{name}")
        client.http.headers["Authorization"] = f"token {token}"
        return client


@contextlib.contextmanager
def hubs(base: Path, programs: HubPrograms) -> Iterator[Hub]:
    """A hub that answers, until the end."""
    hub = Hub(base, programs)
    try:
        hub.wait_ready(120)
        yield hub
    finally:
        hub.stop()
