"""Classes of others in the configuration of the gateway and of `lab`: by file, and on the command line."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, Gateway, environment
from ..support.plugins.noting_provisioner import install
from ..support.plugins.spec_managers import NAME
from ..support.ports import free_port
from ..support.servers import NOT_NEEDED

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"
PATH = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH")]))
LAB = [
    "lab",
    "--no-token",
    *(word for name in NOT_NEEDED for word in ("--disable", name)),
    "--set",
    "kernels.prewarm=0",
]


async def check(server: Gateway, display_name: str, seen: str) -> None:
    async with Client(server.url) as client:
        model = (await client.http.get("/api/kernelspecs")).json()
        assert model["kernelspecs"][NAME]["spec"]["display_name"] == display_name
        assert "python3" not in model["kernelspecs"]
        response = await client.http.post(
            "/api/kernels", json={"name": NAME, "env": {"KERNEL_USERNAME": "ann", "KERNEL_X": "x"}}
        )
        assert response.status_code == 201, response.text
        kernel_id = response.json()["id"]
        assert await client.evaluate(kernel_id, "(os.environ['WHO'], os.environ['SEEN_BY_PROVISIONER'])") == str(
            ("ann", seen)
        )
    assert "has no effect" not in server.log
    assert "no meaning" not in server.log


SPEC_OPTIONS = {
    "KernelGatewayApp.kernel_spec_manager_class": "spec_managers.Shelf",
    "KernelSpecManager.ensure_native_kernel": False,
    "KernelProvisionerFactory.default_provisioner_name": "noting",
    "Shelf.label": " of mine",
    "NotingProvisioner.label": "set: ",
    "KernelSpecManager.allowed_kernelspecs": {NAME, "tiny_plain"},
}


@pytest.mark.parametrize("how", ["file", "class in file", "command line"])
async def test_the_gateway_uses_them(begin: Begin, tmp_path: Path, how: str) -> None:
    path = f"{install(tmp_path / 'lib')}{os.pathsep}{PATH}"
    arguments = []
    if how == "command line":
        for name, value in SPEC_OPTIONS.items():
            values = value if isinstance(value, set) else [value]
            arguments += [f"--{name}={one}" for one in values]
    else:
        lines = [f"c.{name} = {value!r}" for name, value in SPEC_OPTIONS.items()]
        if how == "class in file":
            lines += ["from spec_managers import Shelf", "c.KernelGatewayApp.kernel_spec_manager_class = Shelf"]
        (tmp_path / "mine.py").write_text("\n".join(lines))
        arguments = [f"--config={tmp_path / 'mine.py'}"]
    await check(begin(*arguments, env={"PYTHONPATH": path}), "X of mine", "set: ann")


@pytest.mark.parametrize("how", ["file", "command line"])
async def test_lab_uses_them(begin: Begin, tmp_path: Path, how: str) -> None:
    path = f"{install(tmp_path / 'lib')}{os.pathsep}{PATH}"
    settings = [
        "kernels.kernel_spec_manager_class=spec_managers.Shelf",
        "kernels.ensure_native_kernel=false",
        "kernels.default_provisioner_name=noting",
        f"kernels.allowed_kernelspecs=[{NAME}, tiny_plain]",
        "kernels.class_options.Shelf.label=' of mine'",
        "kernels.class_options={NotingProvisioner: {label: 'set: '}, Shelf: {label: ' of mine'}}",
    ]
    arguments = [*LAB, "--port", str(free_port())]
    if how == "command line":
        arguments += [word for setting in settings for word in ("--set", setting)]
    else:
        quoted = [f'"{setting}"' for setting in ["kernels.prewarm=0", *settings]]
        (tmp_path / "mine.yaml").write_text(f"set: [{', '.join(quoted)}]\n")
        arguments = [*arguments[:-4], *arguments[-2:], "--config", str(tmp_path / "mine.yaml")]
    await check(begin(*arguments, env={"PYTHONPATH": path}), "X of mine", "set: ann")


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """The one line with which the command ends."""
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, PYTHONPATH=PATH, **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = [line for line in done.stderr.splitlines() if "open: every user" not in line]
    return line


GATEWAY_CLASS = "--KernelGatewayApp.kernel_spec_manager_class="
LAB_CLASS = [*LAB, "--port=0", "--set", "kernels.kernel_spec_manager_class="]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module.Class", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("spec_managers.NoManager", "not a class derived from jupyter_client.kernelspec.KernelSpecManager"),
        ("spec_managers.Broken", "cannot be made: RuntimeError: no conda here"),
    ],
)
@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_one_that_cannot_be_used_ends_the_command_with_one_line(
    tmp_path: Path, host: str, name: str, said: str
) -> None:
    arguments = [f"{GATEWAY_CLASS}{name}", "--port=0"] if host == "gateway" else [*LAB_CLASS[:-1], LAB_CLASS[-1] + name]
    line = refused(tmp_path, *arguments)
    assert f"kernel_spec_manager_class={name}: {said}" in line


@pytest.mark.parametrize("host", ["gateway", "lab"])
def test_a_default_provisioner_that_is_not_installed_ends_it_with_one_line(tmp_path: Path, host: str) -> None:
    arguments = ["--port=0"] if host == "gateway" else LAB_CLASS[:-2]
    line = refused(tmp_path, *arguments, JUPYTER_DEFAULT_PROVISIONER_NAME="nothing")
    assert "JUPYTER_DEFAULT_PROVISIONER_NAME=nothing: there is no such provisioner" in line


async def test_one_that_raises_is_told_and_harms_nobody_else(begin: Begin) -> None:
    gateway = begin(f"{GATEWAY_CLASS}spec_managers.Raising", env={"PYTHONPATH": PATH})
    async with Client(gateway.url) as client:
        response = await client.http.get("/api/kernelspecs")
        assert response.status_code == 500
        assert response.json()["message"] == "The kernelspecs cannot be listed; the server's log says why"
        assert (await client.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 404
        assert (await client.http.post("/api/kernels")).status_code == 500
        assert (await client.http.get("/api")).status_code == 200
    assert "spec_managers.Raising cannot list kernelspecs: OSError: no conda" in gateway.log
    assert "Traceback" not in gateway.log
    assert await asyncio.to_thread(gateway.stop) == 0


async def test_one_that_never_answers_holds_up_neither_others_nor_the_end(begin: Begin) -> None:
    gateway = begin(f"{GATEWAY_CLASS}spec_managers.Gated", env={"PYTHONPATH": PATH})
    async with Client(gateway.url) as client:
        listing = asyncio.create_task(client.http.get("/api/kernelspecs"))
        starting = asyncio.create_task(client.http.post("/api/kernels", json={"name": "tiny_plain"}))
        for _ in range(3):
            assert (await client.http.get("/api")).status_code == 200
        assert not listing.done()
        assert await asyncio.to_thread(gateway.stop) == 0
        await asyncio.gather(listing, starting, return_exceptions=True)
