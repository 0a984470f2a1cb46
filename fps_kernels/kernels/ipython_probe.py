"""Silent requests to IPython kernels: what they are made of, and to move to another folder.

Pure, except that the code to run in the kernel is read from a file of this package, in_kernel/probe.py. The
code leaves nothing behind in the kernel: no name, no history, and no execution count.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


class ProbeFailed(Exception):
    """The kernel could not do what it was asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an IPython kernel says it is made of.

    startup: the names of everything that makes the kernel run user code when it starts.
    paths: files and folders, possibly missing, that another kernel would be made of.
    bound: whether the kernel imports from the folder it was launched in even after it has moved, because
      Python makes relative entries of PYTHONPATH absolute.
    """

    startup: Sequence[str]
    paths: Sequence[str]
    bound: bool


def report_request() -> dict[str, Any]:
    """Return the content of an execute_request for a Report."""
    return _request("report()")


def move_request(folder: str, environment: Mapping[str, str], connection_file: str) -> dict[str, Any]:
    """Return the content of an execute_request that moves the kernel.

    folder: the new working directory.
    environment: the environment variables to set.
    connection_file: the new path of the kernel's connection file.
    """
    arguments = json.dumps([folder, dict(environment), connection_file])
    return _request(f"move(*json.loads({arguments!r}))")


def parse_report(reply: Mapping[str, Any]) -> Report:
    """Read a Report from the content of an execute_reply. Raises ProbeFailed."""
    answer = parse_answer(reply)
    try:
        return Report(tuple(map(str, answer["startup"])), tuple(map(str, answer["paths"])), bool(answer["bound"]))
    except (TypeError, LookupError) as exc:
        raise ProbeFailed(f"unexpected answer: {exc!r}") from exc


def parse_answer(reply: Mapping[str, Any]) -> Any:
    """Read what a request returned from the content of its execute_reply. Raises ProbeFailed."""
    try:
        answer = reply["user_expressions"]["answer"]
        if answer["status"] != "ok":
            raise ProbeFailed(f"{answer.get('ename')}: {answer.get('evalue')}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))
    except (TypeError, LookupError, ValueError, SyntaxError, AttributeError) as exc:
        raise ProbeFailed(f"not an IPython kernel: {exc!r}") from exc


@cache
def probe_code() -> str:
    """Return the text of in_kernel/probe.py."""
    return files(__package__).joinpath("in_kernel", "probe.py").read_text("utf-8")


def _request(call: str) -> dict[str, Any]:
    code = f"{probe_code()}\nimport json\nanswer = json.dumps({call})"
    expression = f"(lambda names: (exec({code!r}, names), names['answer'])[1])({{}})"
    return {
        "code": "",
        "silent": True,
        "store_history": False,
        "allow_stdin": False,
        "user_expressions": {"answer": expression},
    }
