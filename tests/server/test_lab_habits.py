"""What users of `jupyter lab` are used to: words of the command line, the list of servers, and an end that comes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fps_kernels.hosts.asphalt.lab.jupyter_words import INSTEAD
from fps_kernels.hosts.asphalt.lab.lab_parser import parser

from ..support.client import Client
from ..support.gateways import COMMAND, Gateway, environment
from ..support.ports import free_port
from ..support.waits import until
from .test_lab_command import LEAN, Start, refused, start

__all__ = ["start"]
PLUGIN = Path(__file__).parents[1] / "support" / "plugins" / "stubborn.py"
BIN = Path(sys.executable).parent


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60
    )


# --- the list of servers ---------------------------------------------------------------------------------------------


def jupyter(gateway: Gateway, *words: str) -> str:
    """What `jupyter server` prints, for the user who has started a server."""
    environ = environment(gateway.base) | {"JUPYTER_RUNTIME_DIR": str(gateway.runtime)}
    command = [str(BIN / "jupyter-server"), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_jupyter_lists_it_and_stops_it(tmp_path: Path) -> None:
    token = "a" * 20
    server = Gateway(tmp_path / "lab", "lab", *LEAN[1:], "--port", str(free_port()), "--token", token)
    try:
        server.wait_ready()
        [file] = server.runtime.glob("jpserver-*.json")
        assert file.stat().st_mode & 0o777 == 0o600
        shown = jupyter(server, "list")
        assert f"{server.url}/?token={token} :: {server.base.resolve()}" in shown
        info = json.loads(file.read_text())
        assert (info["pid"], info["secure"], info["password"]) == (server.process.pid, False, False)
        jupyter(server, "stop", str(info["port"]))
        assert server.wait_end() == 0
        assert not file.exists()
    finally:
        server.stop()


# --- words of the command line ---------------------------------------------------------------------------------------


async def test_a_folder_is_served_and_kernels_run_there(start: Start, tmp_path: Path) -> None:
    (folder := tmp_path / "a folder").mkdir()
    (folder / "here.txt").touch()
    for words in ([str(folder)], ["--root-dir", str(folder)], ["--notebook-dir", str(folder), "--no-browser"]):
        server = start(*words, "--port", str(free_port()))
        async with Client(server.url) as client:
            assert (await client.http.get("/files/here.txt")).status_code == 200
            assert await client.evaluate(await client.start(), "os.getcwd()") == str(folder.resolve())
        assert await asyncio.to_thread(server.stop) == 0


def test_a_folder_that_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path, "--root-dir", "none") == "fps-kernels: --root-dir=none: No such file or directory"
    assert refused(tmp_path, "--root-dir", "file") == "fps-kernels: --root-dir=file: it is not a folder"
    assert refused(tmp_path, "none.ipynb") == "fps-kernels: none.ipynb: No such file or directory"
    assert "file: it is not in the folder that is served" in refused(tmp_path, "--root-dir", "folder", "file")


def test_a_file_with_all_options_is_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "config" / "fps_kernels_lab.yaml"
    assert run(tmp_path, "lab", "--generate-config").stdout == f"Written: {file}\n"
    text = file.read_text()
    for line in ("# port: 8888", "# token_file: ", "# allow_origin: []", "# open_browser: false"):
        assert line in text.splitlines()
    assert "--generate-config" in refused(tmp_path, "--generate-config")
    assert file.read_text() == text
    file.write_text("port: 8")
    assert run(tmp_path, "lab", "--generate-config", "-y").returncode == 0
    assert file.read_text() == text
    file.write_text("root_dir: nowhere")
    assert refused(tmp_path) == "fps-kernels: --root-dir=nowhere: No such file or directory"
    file.write_text("generate_config: true")
    assert "there is no option generate_config" in refused(tmp_path)
    file.write_text(text.replace("# port: 8888", "port: text"))
    assert "port should be a number" in refused(tmp_path)


def test_the_help_has_a_line_for_each_option_and_examples_that_are_understood(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "lab", "--help"], env=environment(tmp_path, COLUMNS="112"), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    end = lines.index("examples:")
    for action in parser()._actions:
        spellings = action.option_strings or ["PATH"]
        [line] = [line for line in lines[:end] if re.match(f"  (-.*, )?({'|'.join(spellings)})( |$)", line)]
        assert re.search("  [a-zA-Z]", line[2:]), line  # what it does is on the same line
        default = f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
        if default not in ("None", "True", "False", "[]", argparse.SUPPRESS):
            assert f"(default: {default})" in line
    indented = [line for line in lines if line.startswith("  ")]
    assert len(indented) == len(parser()._actions) + len(lines[end + 1 :])  # none goes on in a second line
    for example in lines[end + 1 :]:
        parser().parse_args(example.split("   ")[0].split()[2:])


def test_its_version(tmp_path: Path) -> None:
    assert run(tmp_path, "lab", "--version").stdout == run(tmp_path, "--version").stdout


@pytest.mark.parametrize("words", [["--tok", "x"], ["--no-tok"], ["one", "two"], ["--ServerApp.nothing=x"]])
def test_a_word_that_means_nothing_is_an_error(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, "lab", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unrecognized arguments" in done.stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--tokn=x", "Do you mean --token?"),
        ("--collaborative", "install fps_kernels[collaboration]"),
        ("--browser=firefox", "set BROWSER in the environment"),
        ("--log-level=DEBUG", "use --debug"),
        ("--dev-mode", "use `jupyter lab`"),
        ("--ServerApp.password=x", "use --password-file"),
        ("--Session.key=x", "Jupyter's classes are not here"),
    ],
)
def test_it_says_what_there_is_instead_of_an_option_of_jupyter(tmp_path: Path, word: str, said: str) -> None:
    done = run(tmp_path, "lab", word)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if "error: unrecognized arguments" in line]
    assert said in line


def test_every_option_of_jupyter_lab_is_here_or_explained() -> None:
    shown = subprocess.run([str(BIN / "jupyter-lab"), "--help"], capture_output=True, text=True, timeout=60).stdout
    words = set(re.findall(r"^(--?[a-z][a-z-]*)", shown, re.MULTILINE)) - {"--script", "--no-script"}  # of Notebook 5
    assert len(words) > 25
    known = {word for action in parser()._actions for word in action.option_strings} | {"--allow-root"}
    assert words - known - INSTEAD.keys() == set()


@pytest.mark.parametrize("port", ["-1", "65536", "99999999"])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    assert refused(tmp_path, f"--port={port}").startswith(f"fps-kernels: --port={port}: should be")


def test_options_by_jupyters_names(tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    (folder / "here.txt").touch()
    token = "t" * 20
    words = [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}", f"--ServerApp.port={free_port()}"]
    words += ["--LabApp.open_browser=False", "--allow-root", "--MappingKernelManager.cull_busy=True"]
    server = Gateway(tmp_path / "lab", "lab", *LEAN[1:], *words)
    try:
        server.wait_ready()
        url = f"{server.url}/files/here.txt"
        assert httpx.get(url, headers={"Authorization": f"token {token}"}).status_code == 200
        assert httpx.get(url).status_code != 200
    finally:
        server.stop()


# --- the log ---------------------------------------------------------------------------------------------------------


async def test_acts_and_failures_have_a_line_each(start: Start) -> None:
    server = start("--port", str(free_port()))
    async with Client(server.url) as client:
        kernel_id = await client.start()
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
        await client.http.post(f"/api/kernels/{kernel_id}/interrupt")
        await client.http.post(f"/api/kernels/{kernel_id}/restart")
        await client.http.delete(f"/api/kernels/{kernel_id}")
        await client.http.get("/nothing/of/any/plugin")
        for _ in range(500):
            await client.http.get("/api/kernels/none?token=not-in-the-log")
    lines = server.log.splitlines()
    assert all(re.match(r"\[[A-Z] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [\w.]+\] ", line) for line in lines)
    for act in ("launched", "is ready", "to be interrupted", "to be restarted", "to be shut down"):
        assert [line for line in lines if f"kernel {kernel_id}" in line and act in line], act
    failures = [line for line in lines if "404 for '/api/kernels/none' from 127.0.0.1: answer to GET" in line]
    assert 1 <= len(failures) < 30
    assert [line for line in lines if "404 for '/nothing/of/any/plugin'" in line]
    assert "not-in-the-log" not in server.log


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(start: Start, second: signal.Signals) -> None:
    server = start("--port", str(free_port()), "--set", "kernels.shutdown_wait_time_s=1000")
    async with Client(server.url) as client:
        kernel_id = await client.start("tiny_ignores_sigterm")
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
        server.process.send_signal(signal.SIGTERM)
        await until_refused(server)
    server.process.send_signal(second)
    assert await asyncio.to_thread(server.wait_end) == 128 + second
    assert f"{second.name} for the second time: ending at once" in server.log
    await until(lambda: server.kernel_processes() == [])  # its reaper ends them


async def until_refused(server: Gateway) -> None:
    """Until the first signal has been heard: nothing new is let in then."""

    async def refused() -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.post(f"{server.url}/api/kernels")).status_code == 503
            except httpx.TransportError:
                return True

    await until(refused, every_s=0.05)


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[Gateway]:
    """A server with a plugin that does not end."""
    plugins = tmp_path / "plugins"
    info = plugins / "stubborn-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PLUGIN, plugins)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1.0\n")
    entry = "stubborn = stubborn:StubbornComponent"
    (info / "entry_points.txt").write_text(f"[asphalt.components]\n{entry}\n[jupyverse.components]\n{entry}\n")
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
    options = [*LEAN, "--set", "kernels.shutdown_wait_time_s=0", "--port", str(free_port())]
    server = Gateway(tmp_path / "lab", "lab", *options, env={"PYTHONPATH": path})
    server.wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_plugin_that_does_not_end_is_named(stubborn: Gateway, signum: signal.Signals) -> None:
    async with Client(stubborn.url) as client:
        await client.start()
    assert await asyncio.to_thread(stubborn.stop, signum) == 1
    [line] = [line for line in stubborn.log.splitlines() if "did not end within" in line]
    assert "stubborn (" in line
    assert line.endswith("Ending at once")
    await until(lambda: stubborn.kernel_processes() == [])
