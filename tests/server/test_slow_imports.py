"""JupyterLab starts without the parsers of IRIs, and still has them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ..support.gateways import Gateway
from ..support.ports import free_port

pytest.importorskip("rfc3987_syntax", reason="comes with the extra `lab`")

DEFERRED = """
import sys
from fps_kernels.hosts.asphalt.lab.slow_imports import defer_iri_parsers
defer_iri_parsers()
from jsonschema import FormatChecker
import rfc3987_syntax
assert "lark" not in sys.modules
{}
assert "lark" in sys.modules
import rfc3987_syntax
assert rfc3987_syntax.__file__.endswith("__init__.py")
defer_iri_parsers()
assert sys.modules["rfc3987_syntax"] is rfc3987_syntax
"""


@pytest.mark.parametrize(
    "use",
    [
        "assert FormatChecker().conforms('http://é.org/ö', 'iri')",
        "assert not FormatChecker().conforms('no iri', 'iri')",
        "assert FormatChecker().conforms('é/ö', 'iri-reference')",
        "assert rfc3987_syntax.is_valid_syntax_port('80')",
        "from rfc3987_syntax import parse; assert parse('iri', 'http://example.org/')",
        "from rfc3987_syntax.syntax_helpers import parse; assert parse('iri', 'http://example.org/')",
    ],
)
def test_iris_are_checked_as_ever(use: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", DEFERRED.format(use)], check=True)


def test_jupyterlab_does_not_need_them(tmp_path: Path) -> None:
    # stdin: in a process of its own, which does not begin with what the nursery has imported.
    server = Gateway(
        tmp_path / "lab",
        "lab",
        "--no-token",
        "--port",
        str(free_port()),
        env={"PYTHONPROFILEIMPORTTIME": "1"},
        stdin=subprocess.DEVNULL,
    )
    try:
        server.wait_ready()
        assert httpx.get(f"{server.url}/lab", trust_env=False, timeout=30).status_code == 200
    finally:
        server.stop()
    imported = set(re.findall(r"^import time: .*\| +([\w.]+)$", server.log, re.MULTILINE))
    assert {"jupyterlab", "jsonschema"} <= imported
    assert "lark" not in imported
