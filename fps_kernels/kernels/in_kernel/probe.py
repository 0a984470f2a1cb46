"""What the server asks an IPython kernel of its pool. Not imported: its text is executed inside the kernel.

See ipython_probe for who sends it. It must run on any Python from 3.8 on.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from IPython import get_ipython

shell: Any = get_ipython()
app: Any = shell.kernel.parent


def names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # Python finds nothing there either
        return []


def report() -> dict[str, Any]:
    """Say which user code runs when a kernel starts, and which files the kernel is made of.

    The configuration's folders are not among them, because IPython writes its history there.
    """
    startup_options = (
        "exec_lines",
        "exec_files",
        "extensions",
        "extra_extensions",
        "code_to_run",
        "file_to_run",
        "module_to_run",
        "pylab",
    )
    startup = [name for name in startup_options if getattr(app, name, None)]
    startup_dir = shell.profile_dir.startup_dir
    startup += [name for name in names_in(startup_dir) if name.endswith((".py", ".ipy"))]
    if app.exec_PYTHONSTARTUP and os.environ.get("PYTHONSTARTUP"):
        startup.append("PYTHONSTARTUP")
    if getattr(shell.magics_manager.registry.get("StoreMagics"), "autorestore", False):
        startup.append("StoreMagics.autorestore")  # sets what other kernels have stored up to then
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for entry in sys.path:
        if os.path.isdir(entry):
            paths.add(entry)
            paths.update(os.path.join(entry, name) for name in names_in(entry) if name.endswith(".pth"))
    for folder in app.config_file_paths:
        for name in ("ipython_config", "ipython_kernel_config"):
            paths.update(os.path.join(folder, name + extension) for extension in (".py", ".json"))
    paths.add(startup_dir)
    # An empty or relative entry is the working directory; Python makes relative entries absolute in sys.path.
    entries = (os.environ.get("PYTHONPATH") or os.sep).split(os.pathsep)
    bound = not all(map(os.path.isabs, entries)) or os.getcwd() in set(sys.path) - set(entries)
    return {
        "startup": startup,
        "paths": sorted(path for path in paths if isinstance(path, str) and path),
        "bound": bound,
    }


def move(folder: str, environment: dict[str, str], connection_file: str) -> bool:
    """Make the kernel look as if it had been launched in `folder`, with these variables and this connection file."""
    if shell.execution_count != 1:
        raise RuntimeError("the kernel has already been used")
    os.chdir(folder)
    os.environ.update(environment)
    shell.starting_dir = os.getcwd()
    if shell.history_manager is not None:
        visited = shell.history_manager.dir_hist  # of str or Path, depending on the version
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
