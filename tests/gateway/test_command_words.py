"""Words of the command line that mean nothing: they end the command, and never lead to a server."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.gateways import COMMAND, Begin, environment
from ..support.waits import until


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command prints; it has to end by itself."""
    return subprocess.run(
        [COMMAND, *words], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["labb"], "labb: there is no such command. Do you mean lab?"),
        (["--port=0", "lab"], "lab: a command has to be the first word"),
        (["passwort", "file"], "passwort: there is no such command. Do you mean password?"),
        (["xyz"], "xyz: there is no such command"),
        (["--auth_token=x"], "--auth_token: there is no such option"),
        (["--auth-token", "x"], "--auth-token: there is no such option"),
        (["--tokn=x"], "--tokn: there is no such option. Do you mean --token?"),
        (["--KernelGatewayApp.auth_tokn=x"], "--KernelGatewayApp.auth_tokn: there is no such option. Do you mean auth"),
        (["--port=0", "--", "x"], "x: there is no such command"),
    ],
)
def test_it_ends_with_a_line(tmp_path: Path, words: list[str], said: str) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"fps-kernels: {said}" in done.stderr
    assert "Serving at" not in done.stderr


def test_the_help_lists_the_commands(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help").stdout
    assert re.findall("^  ([a-z]+) ", shown, re.MULTILINE) == [
        "lab",
        "run",
        "kernels",
        "stop",
        "password",
        "completion",
    ]


def test_options_in_all_their_spellings_are_known(tmp_path: Path) -> None:
    words = ["--ip=127.0.0.1", "--port", "0", "--port_retries=0", "--seed_uri=", "--KernelManager.autorestart=False"]
    done = run(tmp_path, *words, "--debug", "-y", "--JupyterWebsocketPersonality.list_kernels=True", "--show-config")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(begin: Begin, second: signal.Signals) -> None:
    gateway = begin("--KernelManager.shutdown_wait_time=1000", "--JupyterWebsocketPersonality.list_kernels=True")
    async with Client(gateway.url) as client:
        kernel_id = await client.start("tiny_ignores_sigterm")
        await client.until_kernel(kernel_id, lambda model: model["execution_state"] == "idle")
        gateway.process.send_signal(signal.SIGTERM)

        async def is_ending() -> bool:
            return (await client.http.get("/readyz")).status_code == 503

        await until(is_ending, every_s=0.05)
    gateway.process.send_signal(second)
    assert gateway.wait_end() == 128 + second
    await until(lambda: gateway.kernel_processes() == [])
