"""Pythons and systems that lack something: kernels run without it, or one line says what is missing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fps_kernels.hosts.asphalt.component import KernelsComponent

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, Gateway, environment
from ..support.kept_mode import not_kept
from ..support.lacking import (
    FEW_DESCRIPTORS,
    NO_CALLS,
    NO_CURVE,
    NO_LOOP_EXTRAS,
    NO_MODULES,
    REFUSED_CALLS,
    WINDOWS,
    lacking,
)
from ..support.waits import until

LISTING = "--JupyterWebsocketPersonality.list_kernels=True"


async def check_kernels(gateway: Gateway) -> None:
    """A kernel starts, runs, is restarted when it dies, and leaves nothing behind; and so does the server."""
    async with Client(gateway.url) as client:
        kernel = await client.start()
        pid = int(await client.evaluate(kernel, "os.getpid()"))
        async with await client.connect(kernel) as socket:
            psutil.Process(pid).kill()
            await socket.until_status("restarting")
        assert int(await client.evaluate(kernel, "os.getpid()")) != pid
        assert (await client.http.post(f"/api/kernels/{kernel}/restart")).status_code == 200
        assert (await client.http.delete(f"/api/kernels/{kernel}")).status_code == 204
        assert (gateway.kernel_processes(), gateway.connection_files()) == ([], [])
        await client.start()
    assert gateway.stop() == 0
    assert (gateway.kernel_processes(), gateway.connection_files()) == ([], [])
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize(
    "code",
    [NO_LOOP_EXTRAS, pytest.param(NO_MODULES + NO_CALLS, marks=not_kept), REFUSED_CALLS + NO_CURVE],
    ids=["loop", "Python", "libraries"],
)
async def test_kernels_run_where_something_is_missing(begin: Begin, tmp_path: Path, code: str) -> None:
    await check_kernels(begin(LISTING, env=lacking(tmp_path / "site", code)))


async def test_the_gateway_ends_at_ctrl_c_without_signal_handlers(begin: Begin, tmp_path: Path) -> None:
    gateway = begin(env=lacking(tmp_path / "site", NO_LOOP_EXTRAS))
    assert gateway.stop(signal.SIGINT) == 0


def refused(tmp_path: Path, *words: str, **variables: str) -> str:
    """The one line with which the command ends."""
    tmp_path.mkdir(exist_ok=True)
    environ = environment(tmp_path, **variables)
    done = subprocess.run(
        [COMMAND, *words], cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("words", [[], ["lab"], ["--version"]])
def test_windows_is_refused_in_one_line(tmp_path: Path, words: list[str]) -> None:
    assert "Windows is not supported" in refused(tmp_path, *words, **lacking(tmp_path / "site", WINDOWS))


@pytest.mark.parametrize("system", ["win32", "emscripten"])
def test_the_component_refuses_such_systems_too(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(SystemExit, match="is not supported"):
        KernelsComponent()


def test_kernels_are_not_kept_where_the_keeper_would_lack_something(tmp_path: Path) -> None:
    option = "--KernelGatewayApp.keep_kernels=crash"
    line = refused(tmp_path, option, "--port=0", **lacking(tmp_path / "site", NO_MODULES))
    assert "keep_kernels=crash: on this system kernels cannot outlive their server" in line


def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, "lab", "--port=0", **lacking(tmp_path / "site", "sys.modules['fcntl'] = None"))
    assert "The plugin terminals cannot be loaded" in line
    assert "--disable=terminals" in line


def test_encryption_that_is_required_needs_curve(tmp_path: Path) -> None:
    option = "--KernelManager.transport_encryption=required"
    line = refused(tmp_path, option, "--port=0", **lacking(tmp_path / "site", NO_CURVE))
    assert "transport_encryption=required: this libzmq was built without CURVE" in line


# --- folders ------------------------------------------------------------------------------------


NOWHERE = "/proc/no-home"
"""A folder that nobody can make, root neither."""


async def test_a_runtime_folder_that_cannot_be_written_to_is_replaced(begin: Begin, tmp_path: Path) -> None:
    variables = {"HOME": NOWHERE, "JUPYTER_CONFIG_DIR": NOWHERE, "JUPYTER_RUNTIME_DIR": NOWHERE, "IPYTHONDIR": NOWHERE}
    (tmp_path / "tmp").mkdir()
    gateway = begin(LISTING, env={**variables, "TMPDIR": str(tmp_path / "tmp")})
    # Where kernels are kept, the next server finds it there.
    [folder] = (tmp_path / "tmp").iterdir() if gateway.keeper is None else [gateway.keeper.folder / "runtime"]
    assert (
        f"{NOWHERE}, cannot be written to (No such file or directory): connection files are in {folder}" in gateway.log
    )
    assert folder.stat().st_mode & 0o777 == 0o700
    gateway.runtime = folder
    await check_kernels(gateway)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_without_any_folder_one_line_names_it(tmp_path: Path) -> None:
    places = {name: NOWHERE for name in ("HOME", "JUPYTER_RUNTIME_DIR", "TMPDIR", "TEMP", "TMP")}
    no_temporary = "import tempfile\ntempfile._candidate_tempdir_list = lambda: []"
    line = refused(tmp_path, "--port=0", **places, **lacking(tmp_path / "site", no_temporary))
    assert NOWHERE in line
    assert "JUPYTER_RUNTIME_DIR" in line


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f"rmdir {gone}; exec {COMMAND} --port=0"]
    done = subprocess.run(command, cwd=gone, env=environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 1
    assert b"The folder that this was started in does not exist any more" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr


def test_a_config_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    assert NOWHERE in refused(tmp_path, "--generate-config", JUPYTER_CONFIG_DIR=NOWHERE)


# --- descriptors --------------------------------------------------------------------------------


async def test_a_start_without_descriptors_fails_clearly_and_harms_nobody(begin: Begin, tmp_path: Path) -> None:
    gateway = begin(env=lacking(tmp_path / "site", FEW_DESCRIPTORS))
    async with Client(gateway.url) as client:
        started = []
        while (response := await client.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 201:
            started.append(response.json()["id"])
        assert response.status_code == 500
        assert "Too many open files" in response.json()["message"]
        assert len(gateway.kernel_processes()) == len(gateway.connection_files()) == len(started)
        for kernel in started:
            assert await client.evaluate(kernel, "6 * 7") == "42"
        assert (await client.http.delete(f"/api/kernels/{started[0]}")).status_code == 204

        async def start_another() -> bool:
            return (await client.http.post("/api/kernels", json={"name": "tiny_plain"})).status_code == 201

        await until(start_another)  # libzmq gives its descriptors back a little later
    assert gateway.stop() == 0
    assert (gateway.kernel_processes(), gateway.connection_files()) == ([], [])
