"""JupyterLab starts without the parsers of IRIs, and still has them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rfc3987_syntax", reason="comes with the extra `lab`")

DEFERRED = """
import sys
from fps_kernels.lab.slow_imports import defer_iri_parsers
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
