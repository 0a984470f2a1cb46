"""What the server asks IPython kernels in silence: of what they are made, and to move to another folder. Pure.

The code leaves no name, no history and no count behind in the kernel.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CODE = '''
import json, os, sys
from IPython import get_ipython

shell = get_ipython()
app = shell.kernel.parent


def names_in(folder):
    try:
        return os.listdir(folder)
    except OSError:  # Python finds nothing there, either
        return []


def report():
    """What runs code of the user's at the start, and the files that the kernel is made of.

    Not the folders of the configuration: IPython's history is written there.
    """
    startup = [name for name in ("exec_lines", "exec_files", "extensions", "extra_extensions", "code_to_run",
                                 "file_to_run", "module_to_run", "pylab") if getattr(app, name, None)]
    folder = shell.profile_dir.startup_dir
    startup += [name for name in names_in(folder) if name.endswith((".py", ".ipy"))]
    if app.exec_PYTHONSTARTUP and os.environ.get("PYTHONSTARTUP"):
        startup.append("PYTHONSTARTUP")
    if getattr(shell.magics_manager.registry.get("StoreMagics"), "autorestore", False):
        startup.append("StoreMagics.autorestore")  # sets what other kernels have stored until then
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for entry in sys.path:
        if os.path.isdir(entry):
            paths.add(entry)
            paths.update(os.path.join(entry, name) for name in names_in(entry) if name.endswith(".pth"))
    configured = [os.path.join(folder, name + end) for folder in app.config_file_paths
                  for name in ("ipython_config", "ipython_kernel_config") for end in (".py", ".json")]
    paths.update([*configured, folder])
    entries = (os.environ.get("PYTHONPATH") or os.sep).split(os.pathsep)
    bound = not all(map(os.path.isabs, entries)) or os.getcwd() in set(sys.path) - set(entries)
    paths = sorted(path for path in paths if isinstance(path, str) and path)
    return {"startup": startup, "paths": paths, "bound": bound}


def move(folder, environment, connection_file):
    if shell.execution_count != 1:
        raise RuntimeError("somebody has used the kernel")
    os.chdir(folder)
    os.environ.update(environment)
    shell.starting_dir = os.getcwd()
    if shell.history_manager is not None:
        visited = shell.history_manager.dir_hist  # of str or Path, by the version
        visited[:] = [type(one)(shell.starting_dir) for one in visited[:1]]
    if environment.get("JPY_SESSION_NAME"):
        shell.user_ns["__session__"] = environment["JPY_SESSION_NAME"]
        if app.hide_initial_ns:
            shell.user_ns_hidden["__session__"] = environment["JPY_SESSION_NAME"]
    old = app.connection_file
    for arguments in (sys.argv, getattr(sys, "orig_argv", []), app.argv):
        arguments[:] = [argument.replace(old, connection_file) for argument in arguments]
    for config in (app.config, app.cli_config, shell.config):
        for section in config.values():
            if isinstance(section, dict) and section.get("connection_file") == old:
                section["connection_file"] = type(section["connection_file"])(connection_file)
    app.connection_file = connection_file
    return True
'''


class NoAnswer(Exception):
    """The kernel could not do what it was asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """startup: names of what runs code of the user's when a kernel starts. paths: of files and folders, which may
    be missing, that another kernel would be made of. bound: whether it imports from the folder it was launched in,
    wherever it goes; Python makes relative entries of PYTHONPATH absolute."""

    startup: Sequence[str]
    paths: Sequence[str]
    bound: bool


def report_request() -> dict[str, Any]:
    """The content of an execute_request for a Report."""
    return _request("report()")


def move_request(folder: str, environment: Mapping[str, str], connection_file: str) -> dict[str, Any]:
    """That of one to go to a folder, set environment variables, and know its connection file by its new name."""
    arguments = json.dumps([folder, dict(environment), connection_file])
    return _request(f"move(*json.loads({arguments!r}))")


def parse_report(reply: Mapping[str, Any]) -> Report:
    """From the content of the execute_reply. Raises NoAnswer."""
    answer = parse_answer(reply)
    try:
        return Report(tuple(map(str, answer["startup"])), tuple(map(str, answer["paths"])), bool(answer["bound"]))
    except (TypeError, LookupError) as exc:
        raise NoAnswer(f"an answer of another form: {exc!r}") from exc


def parse_answer(reply: Mapping[str, Any]) -> Any:
    """From the content of the execute_reply. Raises NoAnswer."""
    try:
        answer = reply["user_expressions"]["answer"]
        if answer["status"] != "ok":
            raise NoAnswer(f"{answer.get('ename')}: {answer.get('evalue')}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))
    except (TypeError, LookupError, ValueError, SyntaxError, AttributeError) as exc:
        raise NoAnswer(f"not an IPython kernel: {exc!r}") from exc


def _request(call: str) -> dict[str, Any]:
    code = f"{_CODE}\nanswer = json.dumps({call})"
    expression = f"(lambda names: (exec({code!r}, names), names['answer'])[1])({{}})"
    return {
        "code": "",
        "silent": True,
        "store_history": False,
        "allow_stdin": False,
        "user_expressions": {"answer": expression},
    }
