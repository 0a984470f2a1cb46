"""`fps-kernels run`, and the notebooks that it is given."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nbformat

from .gateways import COMMAND, environment
from .messages import Json
from .notebooks import Source, notebook


def environ_of(base: Path, **names: str) -> dict[str, str]:
    """An environment with the tiny kernels, and without what a terminal would say."""
    env = {name: one for name, one in environment(base, **names).items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return {name: one for name, one in env.items() if not name.startswith("FPS_KERNELS_TOKEN")} | names


class Runs:
    """Runs notebooks in a folder of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.env = environ_of(base)

    def write(self, *cells: Source | Json, name: str = "a.ipynb", **more: Any) -> Path:
        path = self.base / name
        path.write_text(json.dumps(notebook(*cells, **more)))
        return path

    def command(self, *words: str | Path) -> list[str]:
        return [COMMAND, "run", *map(str, words)]

    def run(self, *words: str | Path, code: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command to its end. code: that it must end with."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.env, "cwd": self.base} | more
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    def begin(self, *words: str | Path, **more: Any) -> subprocess.Popen[str]:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.env, "cwd": self.base} | more
        return subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )

    def read(self, path: Path | str = "a.executed.ipynb") -> Json:
        """A notebook that was saved, which must be a valid one."""
        text = (self.base / path).read_text()
        nbformat.validate(nbformat.reads(text, as_version=4))
        found: Json = json.loads(text)
        return found

    def outputs(self, path: Path | str = "a.executed.ipynb") -> list[list[Json]]:
        """The outputs of each code cell, with texts as strings."""
        found = nbformat.reads((self.base / path).read_text(), as_version=4)
        return [json.loads(json.dumps(cell.outputs)) for cell in found.cells if cell.cell_type == "code"]

    def text(self, path: Path | str = "a.executed.ipynb") -> str:
        """All text of streams in it."""
        return "".join(one.get("text", "") for outputs in self.outputs(path) for one in outputs)

    def left(self) -> list[str]:
        """The files in the folder that are not Jupyter's or a notebook's."""
        return sorted(name for name in os.listdir(self.base) if name.endswith(".tmp"))
