"""What IPython kernels are asked in silence, and what is made of their answers."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from fps_kernels.kernels.ipython_probe import ProbeFailed, Report, parse_answer, parse_report, probe_code

from ..support.cases import for_each


def test_the_code_for_the_kernel_is_python_3_8() -> None:
    """Users' kernels may be older than the server. The code comes from the installed package, as in a wheel."""
    functions = [node.name for node in ast.parse(probe_code(), feature_version=(3, 8)).body if hasattr(node, "name")]
    assert {"report", "move"} <= set(functions)


def test_a_report_is_read_from_the_reply() -> None:
    answer = repr('{"startup": ["pylab"], "paths": ["/a", "/b"], "bound": true}')
    reply = {"user_expressions": {"answer": {"status": "ok", "data": {"text/plain": answer}}}}
    assert parse_report(reply) == Report(("pylab",), ("/a", "/b"), True)


@for_each(
    "reply",
    [
        {},
        {"user_expressions": {}},
        {"user_expressions": {"answer": {"status": "ok", "data": {"text/plain": "nonsense"}}}},
        {"user_expressions": {"answer": {"status": "ok", "data": {"text/plain": "'[1'"}}}},
        {"user_expressions": {"answer": {"status": "error", "ename": "OSError", "evalue": "no"}}},
        {"status": "aborted", "user_expressions": None},
    ],
)
def test_a_reply_without_an_answer_is_refused(reply: Any) -> None:
    with pytest.raises(ProbeFailed):
        parse_answer(reply)


def test_a_report_of_another_form_is_refused() -> None:
    with pytest.raises(ProbeFailed):
        parse_report({"user_expressions": {"answer": {"status": "ok", "data": {"text/plain": "'[1]'"}}}})
