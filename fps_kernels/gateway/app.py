"""The command `fps-kernels`: the gateway, or a subcommand such as `fps-kernels lab`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NoReturn

from jupyter_core.application import NoStart
from traitlets import TraitError

from ..errors import BadOption, FPSKernelsError
from ..log_text import escape
from ..serving.gc_tuning import collect_later
from .config.gateway_options import KernelGatewayApp

OUR_VARIABLES = ("KG_", "JUPYTER_", "FPS_KERNELS_")
"""What the names of the variables begin with that this command and Jupyter's libraries read."""

__all__ = ["KernelGatewayApp", "main"]


def main(argv: list[str] | None = None) -> None:
    """The script. If it cannot start, it prints one line to stderr and ends with exit code 1."""
    arguments = sys.argv[1:] if argv is None else argv
    forget_empty_variables()
    try:
        check_own_folder()
        with collect_later():
            if arguments and (command := _command(arguments[0])) is not None:
                command(arguments[1:])
                return
            app = KernelGatewayApp.instance()
            app.initialize(argv)
            app.serve = _serve
            app.start()
    except NoStart:
        return
    except FPSKernelsError as exc:
        _exit(exc.message)
    except TraitError as exc:  # in options of other classes; the application reports its own
        _exit(str(exc))
    except KeyboardInterrupt:  # before the server handles signals
        sys.exit(130)


def _serve(app: KernelGatewayApp) -> None:
    from .run import run  # not for --help, --version and the like

    run(app)


def forget_empty_variables() -> None:
    """Take an empty variable for one that is not set: Jupyter's own code does so with some, and not with others."""
    for name in [name for name, value in os.environ.items() if not value and name.startswith(OUR_VARIABLES)]:
        del os.environ[name]


def check_own_folder() -> None:
    """Raises BadOption if there is no folder any more that relative paths could lead from."""
    try:
        os.getcwd()
    except OSError as exc:
        raise BadOption("The folder that this was started in does not exist any more; cd to another one") from exc


def _command(name: str) -> Callable[[list[str]], None] | None:
    """A subcommand, by its name in the entry point group `fps_kernels.commands`; None if there is none of that name."""
    if name.startswith("-"):
        return None
    for entry_point in entry_points(group="fps_kernels.commands", name=name):
        try:
            command: Callable[[list[str]], None] = entry_point.load()
        except ImportError as exc:
            _exit(f"The command {name} is not installed: install fps_kernels[{name}] (there is no {exc.name})")
        return command
    return None


def _exit(message: str) -> NoReturn:
    # It may quote a kernel, as when a cell of the seed fails.
    print(f"fps-kernels: {escape(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(1)
