"""The command `fps-kernels`: the gateway, or `fps-kernels lab`."""

from __future__ import annotations

import sys
from typing import NoReturn

from jupyter_core.application import NoStart
from traitlets import TraitError

from ..errors import FPSKernelsError
from ..serving.gc_tuning import collect_later
from .config.gateway_options import KernelGatewayApp

__all__ = ["KernelGatewayApp", "main"]


def main(argv: list[str] | None = None) -> None:
    """The script. If it cannot start, it prints one line to stderr and ends with exit code 1."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with collect_later():
            if arguments[:1] == ["lab"]:
                _run_lab(arguments[1:])
                return
            app = KernelGatewayApp.instance()
            app.initialize(argv)
            app.serve = _serve
            app.start()
    except NoStart:
        return
    except FPSKernelsError as exc:
        _exit(exc.message)
    except TraitError as exc:  # from options of other classes; the application checks its own
        _exit(str(exc))
    except KeyboardInterrupt:  # before there was a server that asks
        sys.exit(130)


def _serve(app: KernelGatewayApp) -> None:
    from .run import run  # not for --help, --version and the like

    run(app)


def _run_lab(arguments: list[str]) -> None:
    try:
        from ..hosts.asphalt.lab.command import main as run_lab
    except ImportError as exc:
        _exit(f"JupyterLab is not installed: install fps_kernels[lab] ({exc.name})")
    run_lab(arguments)


def _exit(message: str) -> NoReturn:
    print(f"fps-kernels: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)
