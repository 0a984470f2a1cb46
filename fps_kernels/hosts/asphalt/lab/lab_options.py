"""The options of `fps-kernels lab`: its command line, and a file with the same names."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ....errors import BadOption
from ....options import OPTIONS, Bounds
from ....serving.serving_limits import MESSAGE_BOUNDS, ServingLimits
from ....serving.unix_socket import DEFAULT_MODE
from ..config import HOST_OPTIONS

KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list of texts",
    str: "a text",
}
DESCRIPTION = "JupyterLab with all installed Jupyverse plugins, on fps_kernels."


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


def read_options(argv: Sequence[str], defaults: Mapping[str, Any] = MappingProxyType({})) -> argparse.Namespace:
    """The options of the command line and, for those that it does not give, of the file that --config names.

    defaults: the values of options that neither gives, where they differ from what the help says.
    Raises BadOption for what is wrong in the file; argparse ends the program for what is wrong on the command line.
    """
    options = parser()
    options.set_defaults(**defaults)
    if path := options.parse_args(argv).config:
        options.set_defaults(**_read_config(path, options))
    return options.parse_args(argv)


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser("fps-kernels lab", description=DESCRIPTION)
    options.add_argument("--config", metavar="FILE", help="YAML file with these options, named as here without --")
    _add_listening(options)
    _add_access(options)
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PLUGIN.OPTION=VALUE",
        help="set an option of a plugin, such as kernels.max_kernels=10; can be repeated",
    )
    options.add_argument("--help-options", action=HelpOptions, help="show the options of the plugin kernels, and exit")
    options.add_argument(
        "--disable", action="append", default=[], metavar="PLUGIN", help="do without a plugin; can be repeated"
    )
    _add_bounds(options)
    options.add_argument(
        "--shutdown-no-activity-timeout-s",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="end the server when there have been neither kernels nor terminals nor requests for so long; 0: never "
        "(default: %(default)g)",
    )
    options.add_argument("--open-browser", action="store_true", help="open JupyterLab in a browser")
    options.add_argument("--debug", action="store_true", help="log debug messages")
    return options


def _add_listening(options: argparse.ArgumentParser) -> None:
    options.add_argument("--ip", "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=8888, help="port to listen on (default: %(default)s)")
    options.add_argument(
        "--port-retries",
        type=int,
        default=50,
        help="how many of the next ports to try if it is taken (default: %(default)s)",
    )
    options.add_argument("--sock", metavar="PATH", help="Unix socket to listen on, instead of an address and a port")
    options.add_argument(
        "--sock-mode",
        default=DEFAULT_MODE,
        metavar="MODE",
        help="permissions of the file of the Unix socket (default: %(default)s)",
    )
    options.add_argument("--certfile", help="TLS certificate, a PEM file")
    options.add_argument("--keyfile", help="private key, a PEM file; not needed if it is in the certificate's file")
    options.add_argument("--client-ca", help="certificate authority, a PEM file: clients need a certificate from it")
    options.add_argument(
        "--trust-xheaders",
        action="store_true",
        help="believe a proxy's X-Forwarded-Host, X-Forwarded-For, X-Real-IP, X-Scheme and X-Forwarded-Proto",
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("who may come in", "By default, whoever has the token of the printed URL.")
    options.add_argument(
        "--token", help="token to ask for; other users of this machine can read it here: better use --token-file"
    )
    options.add_argument(
        "--token-file", metavar="FILE", help="file with the token; also FPS_KERNELS_TOKEN_FILE, or FPS_KERNELS_TOKEN"
    )
    options.add_argument("--no-token", action="store_true", help="ask for none: whoever reaches the port can run code")
    options.add_argument(
        "--password-file",
        metavar="FILE",
        help="file with the hash of a password, made by `fps-kernels password FILE`; also FPS_KERNELS_PASSWORD_FILE",
    )
    options.add_argument(
        "--proxy-user-header",
        metavar="HEADER",
        help="header in which a proxy names the user that it has authenticated, such as X-Forwarded-User",
    )
    options.add_argument(
        "--proxy-secret-file",
        metavar="FILE",
        help="file with what the proxy sends as X-Fps-Kernels-Proxy-Secret, so that its word is believed",
    )
    options.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin, such as https://host:port, whose pages may use the server; can be repeated",
    )
    options.add_argument("--allow-origin-pat", metavar="REGEX", help="the same, for all origins that match")
    options.add_argument(
        "--local-hostname",
        "--local-hostnames",
        action="append",
        default=[],
        metavar="NAME",
        help="name by which the server may be called, besides localhost; can be repeated",
    )
    options.add_argument(
        "--allow-remote-access",
        action="store_true",
        help="allow any name, though only this machine is listened to",
    )
    options.add_argument(
        "--allow-open-access",
        action="store_true",
        help="serve other machines though there is no token, or a short one",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("what clients may cost")
    limits = ServingLimits()
    options.add_argument(
        "--max-connections",
        type=int,
        metavar="NUMBER",
        help="how many connections may be open; when there are more, the oldest idle one is closed "
        "(default: half of `ulimit -n`)",
    )
    options.add_argument(
        "--keep-alive-s",
        type=float,
        default=limits.keep_alive_s,
        metavar="SECONDS",
        help="how long a connection may stay open between two requests (default: %(default)g)",
    )
    options.add_argument(
        "--head-timeout-s",
        type=float,
        default=limits.head_timeout_s,
        metavar="SECONDS",
        help="how long the headers of a request may take to arrive (default: %(default)g)",
    )
    options.add_argument(
        "--ws-max-message-bytes",
        type=int,
        default=limits.max_message_bytes,
        metavar="BYTES",
        help="size of the largest WebSocket message that a client may send (default: %(default)s)",
    )


def serving_limits(options: argparse.Namespace) -> ServingLimits:
    """The bounds of the server. Raises BadOption."""
    bounds = {
        "shutdown_no_activity_timeout_s": Bounds(ge=0),
        "max_connections": Bounds(ge=1),
        "keep_alive_s": Bounds(gt=0),
        "head_timeout_s": Bounds(gt=0),
        "ws_max_message_bytes": MESSAGE_BOUNDS,
    }
    for name, bound in bounds.items():
        value = getattr(options, name)
        if value is not None and (problem := bound.violation_if_finite(value)) is not None:
            raise BadOption(f"--{name.replace('_', '-')}={value}: {problem}")
    return ServingLimits(
        max_connections=options.max_connections,
        keep_alive_s=options.keep_alive_s,
        head_timeout_s=options.head_timeout_s,
        max_message_bytes=options.ws_max_message_bytes,
    )


def _read_config(path: str, options: argparse.ArgumentParser) -> dict[str, Any]:
    """The values of a file, by their names in the namespace. Raises BadOption."""
    where = f"--config={path}"
    try:
        with open(path, encoding="utf-8") as file:
            values = YAML(typ="safe").load(file)
    except (OSError, ValueError) as exc:
        raise BadOption(f"{where}: {getattr(exc, 'strerror', None) or exc}") from exc
    except YAMLError as exc:
        raise BadOption(f"{where}: {exc}") from exc
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadOption(f"{where}: not a mapping of options to values")
    known = {
        spelling.lstrip("-").replace("-", "_"): action
        for action in options._actions
        for spelling in action.option_strings
        if action.dest not in ("help", "help_options", "config")
    }
    checked: dict[str, Any] = {}
    for name, value in values.items():
        action = known.get(str(name).replace("-", "_"))
        if action is None:
            raise BadOption(f"{where}: there is no option {name}")
        expected: type = action.type if action.type in (int, float) else type(action.default)
        if expected not in KINDS:
            expected = str
        is_right = type(value) is expected or (expected is float and type(value) is int)
        if isinstance(value, list):
            is_right = is_right and all(isinstance(one, str) for one in value)
        if not is_right:
            raise BadOption(f"{where}: {name} should be {KINDS[expected]}, not {value!r}")
        checked[action.dest] = value
    return checked
