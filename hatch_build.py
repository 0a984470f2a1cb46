"""Builds the JupyterLab extension and adds it to the wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIRED = "FPS_KERNELS_REQUIRE_LABEXTENSION"
TARGET = "share/jupyter/labextensions/@fps-kernels/stdin"
TIMEOUT_S = {"ci": 120, "run": 120}  # both take seconds; npm retries for minutes without a network


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds labextension/, built, as shared data.

    Without npm or a network the wheel is made without it, with a warning: then input() fails at once in code
    that the server executes, and nothing else is lost. With FPS_KERNELS_REQUIRE_LABEXTENSION=1 that is an error.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        source, built = Path(self.root, "labextension"), Path(self.root, "fps_kernels", "labextension")
        stamp = source / "lib" / "sources.sha256"
        digest = _digest(source)
        fresh = (built / "package.json").is_file() and stamp.is_file() and stamp.read_text() == digest
        problem = None if fresh else _build(source)
        if problem is None:
            stamp.write_text(digest)
            build_data["shared_data"][str(built)] = TARGET
        elif os.environ.get(REQUIRED) == "1":
            raise RuntimeError(f"The JupyterLab extension was not built: {problem}")
        else:
            summary = problem.strip().splitlines()[0]
            self.app.display_warning(f"fps_kernels: built without its JupyterLab extension: {summary}")


def _build(source: Path) -> str | None:
    """Run npm. Returns what went wrong, in one line and then npm's output, or None."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm was not found"
    for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        line = f"npm {' '.join(command)}"
        try:
            done = subprocess.run(
                [npm, *command], cwd=source, timeout=TIMEOUT_S[command[0]], capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{line} took longer than {TIMEOUT_S[command[0]]} s"
        except OSError as exc:
            return f"{line}: {exc}"
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            return f"{line} failed with exit code {done.returncode}"
    return None


def _digest(source: Path) -> str:
    """A digest of what the build reads."""
    digest = hashlib.sha256()
    names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
    for path in [*(source / name for name in names), *sorted((source / "src").iterdir())]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
