"""What the tests in unit/ import: little, so that all of them take a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "unit"
SLOW = {"IPython", "fastapi", "httpx", "jsonschema", "jupyter_client", "jupyverse_api", "playwright", "pycrdt"}
"""Each takes tenths of a second to import."""


def test_nothing_slow_is_imported() -> None:
    names = [f"tests.unit.{path.stem}" for path in FOLDER.glob("test_*.py")]
    code = f"import sys, json, {', '.join(names)}; print(json.dumps([*sys.modules]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=FOLDER.parent.parent, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert set(names) < set(loaded)
    assert not SLOW & set(loaded)
