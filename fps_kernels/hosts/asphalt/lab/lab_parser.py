"""The words that `fps-kernels lab` takes, and its help: a line for each option, by what it is for."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from .... import __version__
from ....log_text import printable
from ....options import OPTIONS
from ....serving.log_formats import TEXT
from ....serving.serving_limits import ServingLimits
from ....serving.unix_socket import DEFAULT_MODE
from ...jupyverse.configuration import HOST_OPTIONS
from .jupyter_words import advice, in_own_words
from .lab_config_file import CONFIG_FILE

DESCRIPTION = "JupyterLab with all installed plugins of Jupyverse. By default, this folder for whoever has the token."
EXAMPLES = """\
examples:
  fps-kernels lab                                   serve this folder; the printed URL has the token
  fps-kernels lab work/a.ipynb --open-browser       serve the folder work, and open a notebook of it
  fps-kernels lab --set kernels.cull_idle_timeout_s=3600     end kernels that nobody used for an hour
  fps-kernels lab --ip 0.0.0.0 --certfile c.pem --keyfile k.pem      serve other machines, with https
"""
HELP_COLUMN = 38


class LabHelp(argparse.RawDescriptionHelpFormatter):
    """A line for each option, if the terminal is wide enough. Of several spellings it has ours."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=HELP_COLUMN)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        short = [word for word in action.option_strings if not word.startswith("--")]
        long = [word for word in action.option_strings if word.startswith("--")]
        shown = ", ".join([*short, *long[:1]])
        return shown if action.nargs == 0 else f"{shown} {self._format_args(action, '')}"


class HelpOptions(argparse.Action):
    """Prints the options of the kernels, and ends the command."""

    def __init__(self, option_strings: Sequence[str], dest: str, **keywords: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print("Options of the kernels, to be set with --set kernels.NAME=VALUE. Values are YAML.")
        for option in (*OPTIONS.values(), *HOST_OPTIONS.values()):
            print(f"\nkernels.{option.name} (default: {option.shown_default})")
            print(textwrap.fill(option.help, 100, initial_indent="    ", subsequent_indent="    "))
        parser.exit()


class LabParser(argparse.ArgumentParser):
    """A parser that takes Jupyter's names of options, too, and says what there is instead of those it does not know."""

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # three overloads there
        found, rest = self.parse_known_args(in_own_words(sys.argv[1:] if args is None else args), namespace)
        if rest:
            known = [word for action in self._actions for word in action.option_strings]
            self.error(f"unrecognized arguments: {' '.join(map(printable, rest))}{advice(rest, known)}")
        return found


def parser() -> argparse.ArgumentParser:
    options = LabParser(
        "fps-kernels lab",
        usage="fps-kernels lab [OPTIONS] [PATH]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=LabHelp,
        allow_abbrev=False,
        add_help=False,
    )
    _add_files(options.add_argument_group("what is served"))
    _add_listening(options.add_argument_group("where"))
    _add_access(options.add_argument_group("who may come in"))
    _add_plugins(options.add_argument_group("plugins and kernels"))
    _add_bounds(options.add_argument_group("what clients may cost, and when the server ends"))
    _add_others(options.add_argument_group("the command itself"))
    return options


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "path", nargs="?", metavar="PATH", help="folder to serve, or file to open, whose folder is served"
    )
    group.add_argument(
        "--root-dir",
        "--notebook-dir",
        metavar="FOLDER",
        help="folder to serve and to run kernels in; --notebook-dir, too (default: .)",
    )
    group.add_argument("--open-browser", action="store_true", help="open JupyterLab in a browser")
    group.add_argument("--no-browser", dest="open_browser", action="store_false", help="do not, which is the default")


def _add_listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ip", "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: %(default)s)"
    )
    group.add_argument(
        "--port", type=int, default=8888, metavar="PORT", help="port to listen on (default: %(default)s)"
    )
    group.add_argument(
        "--port-retries",
        type=int,
        default=50,
        metavar="NUMBER",
        help="how many of the next ports to try if it is taken (default: %(default)s)",
    )
    group.add_argument("--metrics-port", type=int, metavar="PORT", help="port on which /metrics needs no token")
    group.add_argument(
        "--metrics-ip", default="127.0.0.1", metavar="ADDRESS", help="its address (default: %(default)s)"
    )
    group.add_argument("--sock", metavar="PATH", help="Unix socket to listen on, instead of an address and a port")
    group.add_argument(
        "--sock-mode",
        default=DEFAULT_MODE,
        metavar="MODE",
        help="permissions of the Unix socket's file (default: %(default)s)",
    )
    group.add_argument("--certfile", metavar="FILE", help="TLS certificate, PEM: only https is served then")
    group.add_argument("--keyfile", metavar="FILE", help="its private key, PEM; not needed if it is in the same file")
    group.add_argument("--client-ca", metavar="FILE", help="authority, PEM, from which clients need a certificate")
    group.add_argument(
        "--trust-xheaders",
        action="store_true",
        help="believe a proxy's X-Forwarded-Host, -For, -Proto, X-Real-IP and X-Scheme",
    )


def _add_access(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--token", metavar="TOKEN", help="token to ask for; better --token-file: others here can read this"
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token; also FPS_KERNELS_TOKEN_FILE, or FPS_KERNELS_TOKEN",
    )
    group.add_argument("--no-token", action="store_true", help="ask for none: whoever reaches the port can run code")
    group.add_argument(
        "--password-file",
        metavar="FILE",
        help="what `fps-kernels password FILE` wrote; also FPS_KERNELS_PASSWORD_FILE",
    )
    group.add_argument(
        "--proxy-user-header",
        metavar="HEADER",
        help="header in which a proxy names its user, such as X-Forwarded-User",
    )
    group.add_argument(
        "--proxy-secret-file",
        metavar="FILE",
        help="file with what that proxy sends as X-Fps-Kernels-Proxy-Secret",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="https://host:port, pages of which may come in; can be repeated",
    )
    group.add_argument("--allow-origin-pat", metavar="REGEX", help="the same, for all origins that match")
    group.add_argument(
        "--local-hostname",
        "--local-hostnames",
        action="append",
        default=[],
        metavar="NAME",
        help="another name of this server, besides localhost; can be repeated",
    )
    group.add_argument(
        "--allow-remote-access", action="store_true", help="allow any name, though only this machine is listened to"
    )
    group.add_argument(
        "--allow-open-access", action="store_true", help="serve other machines without a token, or with a short one"
    )


def _add_plugins(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PLUGIN.OPTION=VALUE",
        help="option of a plugin, such as kernels.max_kernels=10; can be repeated",
    )
    group.add_argument(
        "--disable", action="append", default=[], metavar="PLUGIN", help="do without a plugin; can be repeated"
    )
    group.add_argument("--help-options", action=HelpOptions, help="show the options of the plugin kernels, and exit")


def _add_bounds(group: argparse._ArgumentGroup) -> None:
    limits = ServingLimits()
    group.add_argument(
        "--max-connections",
        type=int,
        metavar="NUMBER",
        help="beyond it the oldest idle one is closed (default: half of `ulimit -n`)",
    )
    group.add_argument(
        "--keep-alive-s",
        type=float,
        default=limits.keep_alive_s,
        metavar="S",
        help="time that a connection may be idle between two requests (default: %(default)g)",
    )
    group.add_argument(
        "--head-timeout-s",
        type=float,
        default=limits.head_timeout_s,
        metavar="S",
        help="time that the headers of a request may take (default: %(default)g)",
    )
    group.add_argument(
        "--ws-max-message-bytes",
        type=int,
        default=limits.max_message_bytes,
        metavar="N",
        help="largest WebSocket message of a client (default: %(default)s)",
    )
    group.add_argument(
        "--shutdown-no-activity-timeout-s",
        "--shutdown-no-activity-timeout",  # as Jupyter Server calls it
        type=float,
        default=0.0,
        metavar="S",
        help="end after a time without kernels and requests; 0: never (default: %(default)g)",
    )


def _add_others(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--config",
        metavar="FILE",
        help=f"YAML file with these options (default: Jupyter's {CONFIG_FILE})",
    )
    group.add_argument("--generate-config", action="store_true", help="write that file, with all defaults, and exit")
    group.add_argument("-y", "--yes", action="store_true", help="answer yes to all questions")
    group.add_argument("--debug", action="store_true", help="log debug messages")
    group.add_argument(
        "--log-format",
        default=TEXT,
        metavar="FORMAT",
        help="of the log: `text`, `json`, or as of Python's `logging` (default: %(default)s)",
    )
    group.add_argument("--version", action="version", version=__version__, help="show the version, and exit")
    group.add_argument("-h", "--help", action="help", help="show this help, and exit")
