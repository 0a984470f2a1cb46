"""The first commands of each page of the documentation, as they are printed: what they begin is asked for a kernel.

PyPI is needed. One environment serves all pages that install the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from ..support.pages import blocks_of
from ..support.programs import lack_unless_required, need
from ..support.venvs import INSTALL_TIMEOUT_S, PACKAGE, run

START_TIMEOUT_S = 120
BEGINS = re.compile(r"^(fps-kernels(?! run)|jupyter) ?", re.MULTILINE)
ADDRESS = re.compile(r"Serving at (\S+)/\n|(http://127\.0\.0\.1:\d+)/lab\?token=")
TOKEN = re.compile(r"[?&]token=([0-9a-f]+)")

INSTALLED_BEFORE = {"security.md": "pip install '.[lab]'"}
"""What a page that is about options takes for granted."""


def first_blocks() -> dict[str, list[str]]:
    """The blocks that install something and begin a server, by page: the first, and those that install more.

    What else there is to run is run by test_page_commands.py, which installs nothing.
    """
    found = {}
    for page in sorted((PACKAGE / "docs").glob("*.md")):
        run = [one.text for one in blocks_of(f"docs/{page.name}") if one.is_run and one.language == "bash"]
        blocks = [text for text in run if BEGINS.search(text)]
        if blocks and (page.name in INSTALLED_BEFORE or blocks[0].startswith("pip install")):
            found[page.name] = blocks[:1] + [block for block in blocks[1:] if block.startswith("pip install")]
    return found


PRINTED = [
    pytest.param(page, block, id=f"{page}-{number}")
    for page, blocks in first_blocks().items()
    for number, block in enumerate(blocks)
]


class Reader:
    """Somebody who has a clone of this repository and does what its documentation says.

    folder: for all that is made; a copy of the repository's files is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "clone"
        self._environments: dict[str, Path] = {}
        self._uv = need("uv")
        # Not by asking git: the tests may run in a copy without history.
        made = [".git", *(line.rstrip("/") for line in (PACKAGE / ".gitignore").read_text().splitlines())]

        def left_out(folder: str, names: list[str]) -> list[str]:
            paths = {name: str((Path(folder) / name).relative_to(PACKAGE)) for name in names}
            return [name for name in names if any(fnmatch(name, one) or fnmatch(paths[name], one) for one in made)]

        shutil.copytree(PACKAGE, self.clone, ignore=left_out)

    def environment(self, install: str) -> Path:
        """An environment for what is installed by a command, with a `pip` that needs no minutes; the command is run."""
        if install not in self._environments:
            made = self.folder / f"venv{len(self._environments)}"
            self._run([self._uv, "venv", "-q", "--python", sys.executable, str(made)])
            pip = made / "bin" / "pip"
            pip.write_text(f'#!/bin/sh\nexec {self._uv} pip "$@" --quiet --python {made}/bin/python\n')
            pip.chmod(0o755)
            self._run(["bash", "-c", install], made)
            self._environments[install] = made
        return self._environments[install]

    def variables(self, venv: Path | None) -> dict[str, str]:
        """Those of this process without what would change what the commands do."""
        cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
        names = ("JUPYTER", "KG_", "FPS_KERNELS_T", "PYTHON", "VIRTUAL_ENV")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        # Tests may run as root, and where there is a browser.
        server = {"allow_root": True, "open_browser": False}
        (config / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": server}))
        environ |= {"HOME": str(self.folder), "JUPYTER_CONFIG_DIR": str(config), "UV_CACHE_DIR": cache}
        return environ | ({"PATH": f"{venv}/bin:{environ['PATH']}"} if venv is not None else {})

    def headers(self, page: str, server: Begun) -> dict[str, str]:
        """What lets somebody in who has read the page."""
        if page == "security.md":
            secret = (self.clone / "secret").read_text().strip()
            return {"X-Forwarded-User": "somebody", "X-Fps-Kernels-Proxy-Secret": secret}
        token = (self.clone / "token").read_text().strip() if page == "gateway.md" else server.token
        return {"Authorization": f"token {token}"}

    def _run(self, command: list[str], venv: Path | None = None) -> None:
        run(command, cwd=self.clone, env=self.variables(venv))

    @contextlib.contextmanager
    def begun(self, block: str, venv: Path) -> Iterator[Begun]:
        """What the block begins, until it is ended as by Ctrl-C or `kill`; nothing of it may be left then."""
        log = self.folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-e", "-c", block],
                cwd=self.clone,
                env=self.variables(venv),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        begun = Begun(process, log)
        try:
            begun.wait_ready()
            yield begun
        finally:
            begun.end()


class Begun:
    """A server. url: without a slash at its end. token: which it has printed, if it has."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self.url = ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def token(self) -> str:
        found = TOKEN.search(self.log)
        return "" if found is None else found[1]

    def wait_ready(self) -> None:
        self._until(lambda: ADDRESS.search(self.log), alive=True)
        found = ADDRESS.search(self.log)
        assert found is not None
        self.url = found[1] or found[2]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(60)
        self._until(lambda: not self._has_processes())

    def _has_processes(self) -> bool:
        """Whether its group has any; kernels are in groups of their own, and end with it."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _until(self, condition: Callable[[], object], *, alive: bool = False) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert not alive or self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def ask(self, method: str, path: str, headers: dict[str, str], model: object = None) -> httpx.Response:
        return httpx.request(method, self.url + path, json=model, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    lack_unless_required("what the documentation says is installed from PyPI")
    return Reader(tmp_path_factory.mktemp("reader"))


def test_each_page_with_commands_is_tried() -> None:
    assert len(PRINTED) >= 6
    assert {one.values[0] for one in PRINTED} >= {"gateway.md", "jupyter-server.md", "lab.md", "notebook-http.md"}


@pytest.mark.timeout(2 * INSTALL_TIMEOUT_S)
@pytest.mark.parametrize(("page", "block"), PRINTED)
def test_what_a_page_says_first_serves_kernels(reader: Reader, page: str, block: str) -> None:
    installs = [line for line in block.splitlines() if line.startswith("pip install")]
    venv = reader.environment(installs[0] if installs else INSTALLED_BEFORE[page])
    with reader.begun(block, venv) as server:
        if page == "notebook-http.md":
            assert server.ask("GET", "/places", {}).text.split("\n")[:3] == ["lima", "oslo", "san josé"]
            return
        headers = reader.headers(page, server)
        wrong = {name: value[::-1] for name, value in headers.items()}
        assert server.ask("POST", "/api/kernels", wrong, {}).status_code in (401, 403)
        started = server.ask("POST", "/api/kernels", headers, {"name": "python3"})
        assert started.status_code == 201, started.text
        assert started.json()["name"] == "python3"
        assert ("runs the kernels" in server.log) == ("jupyter lab" in block)
