"""Builds the JupyterLab extension and puts it into the wheel and the sdist.

Building from a clone runs `npm` from PATH, which reads from the network. No scripts of packages are run, and what
comes is compared with the digests in package-lock.json. An sdist carries the built extension, so that installing it
needs no npm; the wheel made from it takes the extension as it is there, unless its sources were changed since.
"""

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
SOURCE = "labextension"
BUILT = "fps_kernels/labextension"
STAMP = "labextension/sources.sha256"
"""The digest of the sources that the built extension was made from."""
TARGET = "share/jupyter/labextensions/@fps-kernels/stdin"
"""Where JupyterLab looks for it, below the prefix of an environment."""
TIMEOUT_S = {"ci": 120, "run": 120}
"""Seconds that an npm command may take. Both take a few; without a network npm retries for minutes."""


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the JupyterLab extension in labextension/ to what is built.

    Where it is not built yet and cannot be, for want of npm or a network, the package is made without it,
    with a warning: `input()` then fails at once in code that the server executes, and nothing else is lost.
    With FPS_KERNELS_REQUIRE_LABEXTENSION=1 that is an error.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        source, built, stamp = root / SOURCE, root / BUILT, root / STAMP
        digest = sources_digest(source)
        is_built = (built / "package.json").is_file() and stamp.is_file() and stamp.read_text() == digest
        problem = None if is_built else build(source)
        if problem is None:
            stamp.write_text(digest)
            if self.target_name == "sdist":
                build_data["force_include"] |= {str(built): BUILT, str(stamp): STAMP}
            else:
                build_data["shared_data"][str(built)] = TARGET
        elif os.environ.get(REQUIRED) == "1":
            raise RuntimeError(f"The JupyterLab extension was not built: {problem}")
        else:
            self.app.display_warning(f"fps_kernels: built without its JupyterLab extension: {problem}")


def build(source: Path) -> str | None:
    """Run npm. Returns what went wrong, in one line, or None. What npm printed goes to stderr."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm was not found"
    for command in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
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


def sources_digest(source: Path) -> str:
    """The digest of all files that the build reads."""
    digest = hashlib.sha256()
    names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
    for path in [*(source / name for name in names), *sorted((source / "src").iterdir())]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
