"""The file by which `jupyter server list` and editors find a running server."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from .runtime_file import runtime_file


@contextlib.contextmanager
def listed(info: Mapping[str, Any]) -> Iterator[None]:
    """List a server as long as the context lasts.

    info: the keys of Jupyter Server's own files, but for the number of the process.
    """
    data = json.dumps({**info, "pid": os.getpid()}, indent=2, sort_keys=True).encode()
    without = "`jupyter server list` will not show this server"
    with runtime_file(f"jpserver-{os.getpid()}.json", data, without=without):
        yield
