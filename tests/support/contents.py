"""The contents API of a server, for the tests of files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from .gateways import Gateway
from .lacking import lacking
from .ports import free_port

FILES_ONLY = [
    *(word for name in ("jupyterlab", "lab", "nbconvert", "terminals", "yjs") for word in ("--disable", name)),
    *("--set", "kernels.prewarm=0", "--no-token"),
]


@dataclass(frozen=True)
class Files:
    """One folder of a server's, below `root`, and requests for what is in it.

    name: of the folder, as a path of the API; "" for the root.
    """

    client: httpx.Client
    url: str
    root: Path
    name: str = ""

    @property
    def path(self) -> Path:
        return self.root / self.name

    def below(self, name: str) -> Files:
        """The same, for a folder of the root, which is made."""
        (self.root / name).mkdir()
        return replace(self, name=name)

    def _ask(self, method: str, path: str, model: Any = None, **query: str) -> httpx.Response:
        where = "/".join(part for part in (self.name, path) if part)
        url = httpx.URL(self.url, raw_path=f"/api/contents/{where}".rstrip("/").encode())
        if query:
            url = url.copy_merge_params(query)
        body = None if model is None else json.dumps(model).encode()  # httpx sends no halves of surrogate pairs
        return self.client.request(method, url, content=body)

    def get(self, path: str, **query: str) -> httpx.Response:
        return self._ask("GET", path, **query)

    def put(self, path: str, model: Any) -> httpx.Response:
        return self._ask("PUT", path, model)

    def post(self, path: str, model: Any = None) -> httpx.Response:
        return self._ask("POST", path, model)

    def patch(self, path: str, model: Any) -> httpx.Response:
        return self._ask("PATCH", path, model)

    def delete(self, path: str) -> httpx.Response:
        return self._ask("DELETE", path)


@contextlib.contextmanager
def files_only(base: Path, *options: str, inside: str | None = None) -> Iterator[Files]:
    """A lab without what has nothing to do with files.

    inside: code that its process runs before all else.
    """
    env = None if inside is None else lacking(base / "inside", inside)
    server = Gateway(base / "lab", "lab", "--port", str(free_port()), *FILES_ONLY, *options, env=env)
    try:
        server.wait_ready()
        with httpx.Client(timeout=60, trust_env=False) as client:
            yield Files(client, server.url, server.base)
    finally:
        server.stop()
