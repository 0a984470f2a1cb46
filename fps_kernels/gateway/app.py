"""The command `fps-kernels`: the gateway, or a subcommand such as `fps-kernels lab`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import BadOption, FPSKernelsError
from ..log_text import escape
from ..serving.gc_tuning import collect_later
from ..serving.init_process import leave_init_behind
from ..serving.signal_handlers import survive_hangup
from ..serving.standard_streams import open_standard_streams, tell
from ..serving.supported_system import check_system

if TYPE_CHECKING:
    from .config.gateway_options import KernelGatewayApp

OUR_VARIABLES = ("KG_", "JUPYTER_", "FPS_KERNELS_")
"""What the names of the variables begin with that this command and Jupyter's libraries read."""

__all__ = ["KernelGatewayApp", "main"]


def __getattr__(name: str) -> Any:
    if name == "KernelGatewayApp":  # not before the system is known to have what it imports
        from .config.gateway_options import KernelGatewayApp

        return KernelGatewayApp
    raise AttributeError(name)


def main(argv: list[str] | None = None) -> None:
    """The script. If it cannot start, it prints one line to stderr and ends with exit code 1."""
    open_standard_streams()
    try:
        check_system()
    except BadOption as exc:
        _exit(exc.message)
    forget_empty_variables()
    leave_init_behind()
    survive_hangup()
    _run(sys.argv[1:] if argv is None else argv, argv)


def _run(arguments: list[str], argv: list[str] | None) -> None:
    from jupyter_core.application import NoStart
    from traitlets import TraitError

    from .config.gateway_options import KernelGatewayApp

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
    try:
        from .run import run  # not for --help, --version and the like
    except ModuleNotFoundError as exc:
        _exit(f"The gateway is not installed: install fps_kernels[gateway] (there is no {exc.name})")
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
            extra = name if name == "lab" else "gateway"
            _exit(f"The command {name} is not installed: install fps_kernels[{extra}] (there is no {exc.name})")
        return command
    return None


def _exit(message: str) -> NoReturn:
    # It may quote a kernel, as when a cell of the seed fails.
    tell(f"fps-kernels: {escape(' '.join(message.split()))}")
    sys.exit(1)
