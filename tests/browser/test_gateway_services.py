"""Kernels of the gateway and of `fps-kernels lab` as `@jupyterlab/services` uses them: JupyterLab's client, in node.

tests/browser/node is its script. Its lock file is made by `npm install --omit-lockfile-registry-resolved`: each
installation asks the registry that it is configured for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.entrances import ENTRANCES, Entrance, open_entrance
from ..support.gateways import gateways
from ..support.programs import need

SOURCE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, where the packages that it needs are installed."""
    npm = need("npm")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "services.mjs"):
        shutil.copy(SOURCE / name, folder)
    run([npm, "ci", "--no-audit", "--no-fund"], folder)
    return folder / "services.mjs"


def run(command: list[str], folder: Path) -> str:
    """Its stdout; both streams are shown when it fails."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def steps_of(script: Path, entrance: Entrance, token: str, headers: dict[str, str]) -> dict[str, Any]:
    """What the script saw, by the name of the step. Its files, by which it and its cells wait, are the server's own."""
    command = ["node", str(script), entrance.server.url, token, json.dumps(headers)]
    lines = run(command, entrance.server.base).splitlines()
    return {step.pop("step"): step for step in (json.loads(line) for line in lines if line.startswith("{"))}


@pytest.fixture(scope="module", params=ENTRANCES)
def entrance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield open_entrance(begin, request.param)


@pytest.fixture(scope="module")
def steps(script: Path, entrance: Entrance) -> dict[str, Any]:
    steps = steps_of(script, entrance, entrance.token, entrance.headers)
    steps["processes"] = entrance.server.kernel_processes()
    return steps


def executed(*outputs: tuple[str, str], status: str = "ok", count: int) -> dict[str, Any]:
    return {"outputs": [list(output) for output in outputs], "status": status, "count": count}


def test_kernelspecs_are_listed(steps: dict[str, Any]) -> None:
    assert steps["specs"] == {"default": "python3", "language": "python"}


def test_a_session_is_started_with_a_kernel(steps: dict[str, Any]) -> None:
    started = steps["started"]
    assert (started["name"], started["language"]) == ("python3", "python")
    assert (started["kernels"], started["sessions"]) == ([started["id"]], ["a.ipynb"])


def test_a_cell_has_outputs_and_a_reply(steps: dict[str, Any]) -> None:
    outputs = [("stream", "out\n"), ("display_data", "1"), ("execute_result", "42")]
    assert steps["executed"] == executed(*outputs, count=1)


def test_an_error_is_an_output_and_in_the_reply(steps: dict[str, Any]) -> None:
    assert steps["failed"] == executed(("error", "ZeroDivisionError"), status="error", count=2)


def test_input_is_asked_for_and_answered(steps: dict[str, Any]) -> None:
    outputs = [("input_request", "name? "), ("stream", "hello Ada\n")]
    assert steps["asked"] == executed(*outputs, count=3)


def test_an_interrupt_ends_the_cell(steps: dict[str, Any]) -> None:
    outputs = [("stream", "asleep\n"), ("error", "KeyboardInterrupt")]
    assert steps["interrupted"] == executed(*outputs, status="error", count=4)


def test_a_restarted_kernel_has_forgotten_its_variables(steps: dict[str, Any]) -> None:
    assert steps["restarted"] == executed(("stream", "False\n"), count=1)


def test_a_page_that_reconnects_finds_its_kernel(steps: dict[str, Any]) -> None:
    assert steps["reconnected"] == executed(("stream", "2\n"), count=3)


def test_what_a_cell_says_while_the_network_is_down_comes_when_it_is_up(steps: dict[str, Any]) -> None:
    assert steps["cut"] == executed(("stream", "before\nmeanwhile\nafter\n"), count=4)


def test_comms_carry_data_and_buffers_both_ways(steps: dict[str, Any]) -> None:
    assert steps["comm"] == {"data": {"word": "ü"}, "bytes": [3, 2, 1]}


def test_another_page_joins_the_kernel(steps: dict[str, Any]) -> None:
    assert steps["joined"]["outputs"] == [["stream", "2\n"]]


def test_a_session_gets_another_path(steps: dict[str, Any]) -> None:
    assert steps["renamed"] == {"kernels": [steps["started"]["id"]], "sessions": ["b.ipynb"]}


def test_the_end_of_a_session_is_that_of_its_kernel(steps: dict[str, Any]) -> None:
    assert steps["ended"] == {"disposed": True, "kernels": [], "sessions": []}
    assert steps["processes"] == []


def test_who_shows_nothing_or_too_little_is_refused(script: Path, entrance: Entrance) -> None:
    refused: list[tuple[int, str, dict[str, str]]] = [(401, "", {}), (401, "wrong", {})]
    if xsrf := entrance.headers.get("X-XSRFToken"):
        refused += [(401, "", {"X-XSRFToken": xsrf}), (403, "", {"Cookie": entrance.headers["Cookie"]})]
    for status, token, headers in refused:
        assert steps_of(script, entrance, token, headers) == {"refused": {"status": status}}
    assert entrance.server.kernel_processes() == []
