"""The command `fps-kernels lab`: its options, and the server, which runs until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from math import isfinite
from typing import Any, NoReturn

from asphalt.core import Context
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ....errors import BadOption
from ....options import OPTIONS, Bounds
from ....serving.event_loop import new_loop
from ....serving.gc_tuning import collect_from_now
from ....serving.logs import configure
from ....serving.rlimits import raise_limit
from ....serving.serving_limits import MESSAGE_BOUNDS, ServingLimits
from ....serving.sockets import Listening, bind
from ....serving.tls import tls_context
from ....tasks import cancel_and_wait
from ..config import HOST_OPTIONS
from .lab_component import LabComponent
from .slow_imports import defer_iri_parsers

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60
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


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser("fps-kernels lab", description=DESCRIPTION)
    options.add_argument("--ip", "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=8888, help="port to listen on (default: %(default)s)")
    options.add_argument(
        "--port-retries",
        type=int,
        default=50,
        help="how many of the next ports to try if it is taken (default: %(default)s)",
    )
    options.add_argument("--certfile", help="TLS certificate, a PEM file")
    options.add_argument("--keyfile", help="private key, a PEM file; not needed if it is in the certificate's file")
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
    options.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may use the REST API (CORS); can be repeated",
    )
    serving = ServingLimits()
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
        default=serving.keep_alive_s,
        metavar="SECONDS",
        help="how long a connection may stay open between two requests (default: %(default)g)",
    )
    options.add_argument(
        "--head-timeout-s",
        type=float,
        default=serving.head_timeout_s,
        metavar="SECONDS",
        help="how long the headers of a request may take to arrive (default: %(default)g)",
    )
    options.add_argument(
        "--ws-max-message-bytes",
        type=int,
        default=serving.max_message_bytes,
        metavar="BYTES",
        help="size of the largest WebSocket message that a client may send (default: %(default)s)",
    )
    options.add_argument("--open-browser", action="store_true", help="open JupyterLab in a browser")
    options.add_argument("--debug", action="store_true", help="log debug messages")
    return options


def main(argv: Sequence[str]) -> None:
    """Run the server until a signal ends it. Raises BadOption."""
    options = parser().parse_args(argv)
    configure(logging.DEBUG if options.debug else logging.INFO)
    raise_limit()
    limits = serving_limits(options)
    tls = tls_context(options.certfile, options.keyfile)
    components = plugins(options.set, options.disable)
    defer_iri_parsers()
    socks = bind(Listening(options.ip, options.port, options.port_retries, False, 0, tls))
    with asyncio.Runner(loop_factory=new_loop) as runner:
        component = LabComponent(
            components,
            socks,
            tls,
            limits,
            allow_origin=tuple(options.allow_origin),
            open_browser=options.open_browser,
        )
        runner.run(_serve(component))


def serving_limits(options: argparse.Namespace) -> ServingLimits:
    """The bounds of the server. Raises BadOption."""
    bounds = {
        "max_connections": Bounds(ge=1),
        "keep_alive_s": Bounds(gt=0),
        "head_timeout_s": Bounds(gt=0),
        "ws_max_message_bytes": MESSAGE_BOUNDS,
    }
    for name, bound in bounds.items():
        value = getattr(options, name)
        problem = None
        if value is not None:
            problem = bound.violation(value) if isfinite(value) else "should be a finite number"
        if problem is not None:
            raise BadOption(f"--{name.replace('_', '-')}={value}: {problem}")
    return ServingLimits(
        max_connections=options.max_connections,
        keep_alive_s=options.keep_alive_s,
        head_timeout_s=options.head_timeout_s,
        max_message_bytes=options.ws_max_message_bytes,
    )


def plugins(settings: Sequence[str], disabled: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The configuration of all installed plugins that are not disabled. Raises BadOption."""
    installed = {one.name for one in entry_points(group="jupyverse.components")}
    for name in disabled:
        if name not in installed:
            raise BadOption(f"--disable={name}: there is no such plugin")
    components: dict[str, dict[str, Any]] = {name: {"type": name} for name in sorted(installed - set(disabled))}
    for setting in settings:
        key, equals, text = setting.partition("=")
        plugin, *names = key.split(".")
        if not equals or not names or not all(names):
            raise BadOption(f"--set={setting}: not of the form PLUGIN.OPTION=VALUE")
        if plugin not in components:
            raise BadOption(f"--set={setting}: there is no plugin {plugin}")
        section: dict[str, Any] = components[plugin]
        for name in names[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, Mapping):
                raise BadOption(f"--set={setting}: {name} is not a section")
        try:
            section[names[-1]] = YAML(typ="safe").load(text)
        except YAMLError as exc:
            raise BadOption(f"--set={setting}: {exc}") from exc
    return components


async def _serve(component: LabComponent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with Context() as ctx:
        starting = asyncio.create_task(component.start(ctx), name="start")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait([starting, stopping], timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                collect_from_now()
                logger.info("Serving at %s", component.url)
                await stopping
            elif not stopping.done():
                raise BadOption(f"The plugins did not start within {START_TIMEOUT_S} s")
        finally:
            await cancel_and_wait(starting, stopping)
