"""The sdist and the wheel carry the built JupyterLab extension: installing either needs no npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..support.programs import need

ROOT = Path(__file__).parents[2]
EXTENSION = "share/jupyter/labextensions/@fps-kernels/stdin"
PAGE = ROOT / "fps_kernels" / "kernels_page" / "static"
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it, by their kinds."""
    need("npm")  # builds the JupyterLab extension
    folder = tmp_path_factory.mktemp("dist")
    environ = os.environ | {"FPS_KERNELS_REQUIRE_LABEXTENSION": "1"}
    run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], environ)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def run(command: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(command, env=environ, timeout=TIMEOUT_S, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installation_without_npm_has_the_extension(packages: dict[str, Path], kind: str, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", str(venv)], dict(os.environ))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FPS_KERNELS_")}
    environ |= {"PATH": str(venv / "bin"), "FPS_KERNELS_REQUIRE_LABEXTENSION": "1"}
    assert shutil.which("npm", path=environ["PATH"]) is None
    run([str(venv / "bin" / "python"), "-m", "pip", "install", "--no-deps", str(packages[kind])], environ)

    extension = venv / EXTENSION
    package = json.loads((extension / "package.json").read_text())
    assert package["name"] == "@fps-kernels/stdin"
    entry = extension / package["jupyterlab"]["_build"]["load"]
    assert entry.is_file(), sorted(str(path) for path in extension.rglob("*"))
    assert b"input_request" in entry.read_bytes() or b"stdin" in entry.read_bytes()


def test_the_code_for_kernels_is_in_the_wheel(packages: dict[str, Path]) -> None:
    """It is read as a file, not imported."""
    assert "fps_kernels/kernels/in_kernel/probe.py" in zipfile.ZipFile(packages["wheel"]).namelist()


def test_the_page_of_kernels_is_in_the_wheel(packages: dict[str, Path]) -> None:
    """The wheel is made from the sdist, which has it, too."""
    files = {f"fps_kernels/kernels_page/static/{path.name}" for path in PAGE.iterdir()}
    assert files <= set(zipfile.ZipFile(packages["wheel"]).namelist())
    assert len(files) > 5
