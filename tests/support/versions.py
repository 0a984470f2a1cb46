"""This package in two versions: as it is in the working tree, and an older one, each in an environment of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from .programs import need
from .venvs import PACKAGE, run

OLDER = "FPS_KERNELS_TESTS_OLDER"
"""The environment variable with the revision that is the older version. Without it that is the latest tag before this
one whose keeper has the same protocol; where there is none, as in an sdist, the working tree by another number."""
WIRE = "fps_kernels/keeper/keeper_wire.py"
NEEDED = ("fps_kernels", "hatch_build.py", "labextension", "pyproject.toml", "README.md", "COPYING.md", "CHANGELOG.md")
NOT_NEEDED = shutil.ignore_patterns("__pycache__", "node_modules")
OTHER = "0.0.1"


def git(*words: str) -> str:
    """What git says of the working tree; "" if there is none."""
    try:
        return subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def protocol_of(text: str) -> str:
    """The line with the version of the protocol."""
    return next((line for line in text.splitlines() if line.startswith("PROTOCOL = ")), "")


def older_revision() -> str | None:
    """The revision of the older version; None for the working tree by another number."""
    if named := os.environ.get(OLDER):
        return named
    ours = protocol_of((PACKAGE / WIRE).read_text())
    tags = git("tag", "--merged", "HEAD^", "--sort=-creatordate").split()
    return next((tag for tag in tags if protocol_of(git("show", f"{tag}:{WIRE}")) == ours), None)


def copy_tree(folder: Path, revision: str | None) -> None:
    """The sources: of a revision, or as they are in the working tree."""
    folder.mkdir()
    if revision is not None:
        archive = subprocess.run(["git", "archive", revision], cwd=PACKAGE, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        return
    for name in NEEDED:
        source = PACKAGE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=NOT_NEEDED)
        else:
            shutil.copy(source, folder / name)


def number(folder: Path, version: str) -> None:
    """Have the sources be of another version."""
    for name, before in (("pyproject.toml", "version = "), ("fps_kernels/__init__.py", "__version__ = ")):
        lines = (folder / name).read_text().splitlines()
        changed = [f'{before}"{version}"' if line.startswith(before) else line for line in lines]
        (folder / name).write_text("\n".join(changed) + "\n")


def speak(folder: Path, newest: int, oldest: int) -> None:
    """Have the sources speak these versions of the keeper's protocol."""
    wire = folder / WIRE
    text, changed = wire.read_text(), 0
    for name, value in (("PROTOCOL", newest), ("OLDEST", oldest)):
        text, count = re.subn(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
        changed += count
    assert changed == 2
    wire.write_text(text)


def install(
    folder: Path, revision: str | None, version: str | None = None, protocols: tuple[int, int] | None = None
) -> str:
    """Build a wheel, and install it beside what this environment has; returns the path of the command `fps-kernels`.

    protocols: the newest and the oldest of the keeper's protocol that it is to speak.
    Skips where PyPI, which has what builds it, cannot be reached.
    """
    folder.mkdir()
    uv = need("uv")
    copy_tree(folder / "tree", revision)
    if version is not None:
        number(folder / "tree", version)
    if protocols is not None:
        speak(folder / "tree", *protocols)
    # Without npm: it is built without its JupyterLab extension, if that is not built yet.
    run([uv, "build", "--wheel", "--out-dir", str(folder), str(folder / "tree")], env={**os.environ, "PATH": "/bin"})
    [wheel] = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    run([uv, "venv", "--python", sys.executable, str(folder / "venv")])
    run([uv, "pip", "install", "--no-deps", "--python", str(python), str(wheel)])
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(python.parent / "fps-kernels")
