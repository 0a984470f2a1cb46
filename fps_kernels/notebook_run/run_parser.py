"""The words that `fps-kernels run` takes, and its help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from .run_outcome import EXIT_CODES

DESCRIPTION = """\
Execute a notebook, and save it with its outputs. The notebook itself is left alone, unless --inplace is given: what
comes of NAME.ipynb is NAME.executed.ipynb beside it, or the file of -o."""
EXAMPLES = """\
examples:
  fps-kernels run report.ipynb                                 outputs go to report.executed.ipynb
  fps-kernels run report.ipynb -o today.ipynb -p day 3         with a parameter
  fps-kernels run report.ipynb --inplace --timeout 600         as `jupyter execute --inplace`
  fps-kernels run report.ipynb --server http://host:8888       on a kernel of a server
"""


class _Parameter(argparse.Action):
    """Collects -p and -r in the order in which they come: (name, text, whether it is YAML)."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given: Sequence[tuple[str, str, bool]] = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*given, (*values, self.const)])


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        "fps-kernels run",
        usage="fps-kernels run [OPTIONS] NOTEBOOK",
        description=DESCRIPTION,
        epilog=f"{EXIT_CODES}\n{EXAMPLES}",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32),
        allow_abbrev=False,
        add_help=False,
    )
    _add_output(options.add_argument_group("what is run, and where it is saved"))
    _add_parameters(options.add_argument_group("parameters"))
    _add_kernel(options.add_argument_group("the kernel"))
    _add_cells(options.add_argument_group("cells"))
    _add_others(options.add_argument_group("the command itself"))
    return options


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("notebook", metavar="NOTEBOOK", help="file to execute; - for standard input")
    where = group.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="FILE", help="file to save to; - for standard output")
    where.add_argument("--inplace", action="store_true", help="save to the notebook itself")


def _add_parameters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-p",
        "--parameter",
        "--parameters",
        nargs=2,
        metavar=("NAME", "VALUE"),
        action=_Parameter,
        dest="parameters",
        const=True,
        default=[],
        help="a value in YAML, such as 3, true, [1, 2] or a text; can be repeated",
    )
    group.add_argument(
        "-r",
        "--raw",
        "--parameters_raw",
        nargs=2,
        metavar=("NAME", "VALUE"),
        action=_Parameter,
        dest="parameters",
        const=False,
        help="a string, as it is; can be repeated",
    )
    group.add_argument(
        "-f",
        "--parameters-file",
        "--parameters_file",
        metavar="FILE",
        action="append",
        default=[],
        dest="parameter_files",
        help="a mapping in YAML or JSON; those above come over it",
    )


def _add_kernel(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-k", "--kernel", metavar="NAME", help="kernelspec (default: the one that the notebook names)")
    group.add_argument("--cwd", metavar="FOLDER", help="folder to run in (default: that of the notebook)")
    group.add_argument(
        "--start-timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="seconds that the kernel has to start (default: %(default)g)",
    )
    group.add_argument("--server", metavar="URL", help="run it on a kernel of a Jupyter server, which ends afterwards")
    group.add_argument(
        "--token",
        metavar="TOKEN",
        help="its token; better FPS_KERNELS_TOKEN. Servers of yours on this machine need none here",
    )


def _add_cells(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--timeout", type=seconds, metavar="S", help="seconds that each cell may take; it is interrupted then"
    )
    group.add_argument(
        "--allow-errors", "--allow_errors", action="store_true", help="go on after cells that fail, and end with 0"
    )


def _add_others(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a bar (default: on terminals), rather than lines",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    group.add_argument("--debug", action="store_true", help="log debug messages")
    group.add_argument("-h", "--help", action="help", help="show this help, and exit")


def seconds(text: str) -> float:
    """A time of an option: a number of seconds beyond 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds beyond 0")
    return value
