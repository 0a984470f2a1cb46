"""What the parts of the package import: each only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fps_kernels

NOT_IN_THE_DRIVER = {"fastapi", "starlette", "uvicorn", "jupyverse_api", "asphalt", "pydantic"}
DRIVER = [
    ".".join(path.relative_to(Path(fps_kernels.__file__).parent).with_suffix("").parts)
    for path in (Path(fps_kernels.__file__).parent / "kernel_driver").rglob("*.py")
    if path.stem != "__init__"
]
"""The names of its modules below the package."""


def loaded_with(*names: str) -> set[str]:
    """The top-level names of everything that a fresh Python has imported after these modules."""
    code = f"import sys, json, {', '.join(f'fps_kernels.{name}' for name in names)}; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert {f"fps_kernels.{name}" for name in names} <= set(loaded)
    return {name.partition(".")[0] for name in loaded}


def test_the_driver_knows_nothing_of_the_web() -> None:
    loaded = loaded_with(*DRIVER)
    assert "zmq" in loaded
    assert loaded.isdisjoint(NOT_IN_THE_DRIVER)


def test_jupyter_client_is_imported_on_first_use() -> None:
    """It takes 0.15 s, which a server should not need to start."""
    at_start = [name for name in DRIVER if name != "kernel_driver.spec_reader"]  # it derives from jupyter_client
    assert loaded_with(*at_start, "kernels.registry").isdisjoint({"jupyter_client", "IPython", "traitlets"})


def test_a_notebook_is_served_without_fastapi() -> None:
    loaded = loaded_with("notebook_http.personality")
    assert "starlette" in loaded
    assert loaded.isdisjoint({"fastapi", "jupyverse_api", "pydantic"})
