"""The command `fps-kernels lab`: its options, and the server, which runs until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from asphalt.core import Context
from jupyter_core.paths import jupyter_runtime_dir
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .... import __version__
from ....api.metrics_server import MetricsServer, bound_for_metrics
from ....errors import BadOption
from ....kernels.keeping.opening import TOKEN_FILE
from ....ledger import sweep
from ....options import OPTIONS
from ....serving.access.reach import warn_of_reach
from ....serving.access.secret_file import TOKEN_BYTES, kept_token
from ....serving.banner import BannerLine, announce
from ....serving.event_loop import new_loop
from ....serving.gc_tuning import collect_from_now
from ....serving.given_sockets import given_sockets
from ....serving.log_formats import log_format_problem, make_formatter
from ....serving.logs import configure, hide
from ....serving.own_memory import close_memory
from ....serving.rlimits import raise_limit
from ....serving.service_variables import service_warnings
from ....serving.sockets import Listening, bound
from ....serving.stop_signals import StopSignals
from ....serving.tls import tls_context
from ....serving.unix_socket import absolute_path, parse_mode
from ....state_folder import open_state_folder
from ....tasks import cancel_and_wait
from .browser_start import opened_in_browser
from .jupyterhub import SERVICE_URL, HubServer, hub_server
from .lab_access import LabAccess, lab_access
from .lab_banner import asks, lab_banner
from .lab_component import PING_INTERVAL_S, LabComponent
from .lab_options import read_options, serving_limits
from .root_folder import RootFolder
from .server_info import listed
from .slow_imports import defer_iri_parsers

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 60
PATIENCE_S = 5
"""Seconds that the plugins have to end, after kernels have had their time."""

OURS = {"contents": f"{__package__}.contents.contents_component:ContentsComponent"}
"""The plugins that this command has itself, in place of installed ones of the same names."""


def main(argv: Sequence[str]) -> None:
    """Run the server until a signal ends it. Raises BadOption."""
    hub = hub_server(os.environ)
    options = read_options(argv, {} if hub is None else hub.defaults)
    given = given_sockets(os.environ)
    given.replace(options)
    root = RootFolder.of(options.root_dir, options.path)
    if (problem := log_format_problem(options.log_format)) is not None:
        raise BadOption(f"--log-format={options.log_format} {problem}")
    configure(logging.DEBUG if options.debug else logging.INFO, make_formatter(options.log_format))
    for warning in service_warnings(os.environ):
        logger.warning("%s", warning)
    if hub is not None:
        under_hub(hub, options)
    sweep(Path(jupyter_runtime_dir()))
    close_memory()
    raise_limit()
    limits = serving_limits(options)
    tls = tls_context(options.certfile, options.keyfile, options.client_ca)
    components, access = prepare(options)
    if "kernels" not in components:
        for name in ("metrics_port", "shutdown_no_activity_timeout_s"):
            if getattr(options, name):
                raise BadOption(f"--{name.replace('_', '-')}: without the plugin kernels nothing can be said of them")
    limits = replace(limits, always_answered=access.open_paths)
    hide(*access.policy.secrets)
    listening = Listening(
        options.ip,
        options.port,
        options.port_retries,
        options.trust_xheaders,
        PING_INTERVAL_S,
        tls,
        sock=absolute_path(options.sock or ""),
        sock_mode=parse_mode(options.sock_mode, "--sock-mode"),
        given=given.socks,
    )
    if options.open_browser and listening.sock:
        raise BadOption("--open-browser: no browser can open a Unix socket (--sock)")
    root.enter()  # what options name was relative to the folder before
    defer_iri_parsers()
    load_plugins(components)
    with (
        StopSignals(ask=asks(options), patience_s=patience_s(components)) as stop,
        bound(listening) as socks,
        bound_for_metrics(options.metrics_ip, options.metrics_port, "--metrics-port") as metrics_socks,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        component = LabComponent(
            components,
            socks,
            tls,
            access.layer(0 if listening.sock else socks[0].getsockname()[1]),
            limits,
            base_url=unquote(access.base_url),
            no_activity_timeout_s=options.shutdown_no_activity_timeout_s,
            shut_down=stop.begin,
            metrics=MetricsServer(metrics_socks, options.metrics_ip) if metrics_socks else None,
        )
        banner = partial(lab_banner, options, components, access, listening, root)
        runner.run(_serve(component, access, listening, root, stop, banner, open_browser=options.open_browser))


def patience_s(components: Mapping[str, Any]) -> float:
    """Seconds that the end may take: the time that kernels have, and that of the plugins."""
    of_kernels = components.get("kernels", {}).get("shutdown_wait_time_s")
    if not isinstance(of_kernels, int | float):  # the plugin refuses it
        of_kernels = OPTIONS["shutdown_wait_time_s"].default
    return float(of_kernels) + PATIENCE_S


def under_hub(hub: HubServer, options: argparse.Namespace) -> None:
    """Serve where the Hub looks for the server, but to nobody without a token. Raises BadOption."""
    if options.no_token:
        raise BadOption(f"--no-token: not under JupyterHub ({SERVICE_URL} is set), whose proxy passes strangers on")
    logger.warning(
        "JupyterHub's login is not supported: whoever opens this server needs its token or password, see --token-file "
        "and --password-file"
    )
    for name in hub.without_effect:
        logger.warning("%s has no effect here", name)
    named = {setting.partition("=")[0] for setting in options.set}
    if hub.prefix != "/" and not named & {"frontend.base_url", "app.mount_path"}:
        options.set = [f"frontend.base_url={hub.prefix}", f"app.mount_path={unquote(hub.prefix[:-1])}", *options.set]


def prepare(options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], LabAccess]:
    """The configuration of the plugins, and who may come in. Raises BadOption."""
    components = plugins(options.set, options.disable)
    base_url = str(components.get("frontend", {}).get("base_url", "/")).strip("/")
    kernels = components.get("kernels", {})
    origins, pattern = kernels.get("allow_origin", []), kernels.get("allow_origin_pat")
    if not isinstance(origins, list) or not all(isinstance(one, str) for one in [*origins, pattern or ""]):
        origins, pattern = [], None  # the plugin refuses them
    elif "kernels" in components:  # its own rule holds, too
        kernels["allow_origin"] = [*options.allow_origin, *origins]
        kernels["allow_origin_pat"] = pattern = options.allow_origin_pat or pattern

    def made_token() -> str:
        if kernels.get("keep_kernels") not in ("crash", "always"):
            return secrets.token_hex(TOKEN_BYTES)
        return kept_token(open_state_folder(str(kernels.get("state_dir") or "")) / TOKEN_FILE)

    return components, lab_access(options, f"/{base_url}/" if base_url else "/", origins, pattern, made_token)


def plugins(settings: Sequence[str], disabled: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The configuration of all installed plugins that are not disabled. Raises BadOption."""
    found = entry_points(group="jupyverse.components")
    if any(one.value.partition(".")[0] == "fps_auth" for one in found):
        raise BadOption(
            "The plugin fps-auth is installed, which lets strangers in. Use `pip uninstall fps-auth fps-login`: this "
            "command asks for a token by itself now"
        )
    installed = {one.name for one in found} | OURS.keys()
    for name in disabled:
        if name not in installed:
            raise BadOption(f"--disable={name}: there is no such plugin")
    components: dict[str, dict[str, Any]] = {
        name: {"type": OURS.get(name, name)} for name in sorted(installed - set(disabled))
    }
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


def load_plugins(components: Mapping[str, Any]) -> None:
    """Import what is to be started: a plugin may need what this system does not have. Raises BadOption."""
    if "contents" in components:
        from .contents.contents_component import check_options

        check_options({name: value for name, value in components["contents"].items() if name != "type"})
    for plugin in entry_points(group="jupyverse.components"):
        if plugin.name in components and plugin.name not in OURS:
            try:
                plugin.load()
            except ImportError as exc:
                raise BadOption(
                    f"The plugin {plugin.name} cannot be loaded: {exc}. --disable={plugin.name} leaves it out"
                ) from exc


async def _serve(
    component: LabComponent,
    access: LabAccess,
    listening: Listening,
    root: RootFolder,
    stop: StopSignals,
    banner: Callable[[str], list[BannerLine]],
    *,
    open_browser: bool,
) -> None:
    stop.listen()
    async with Context() as ctx:
        starting = asyncio.create_task(component.start(ctx), name="start")
        stopping = asyncio.create_task(stop.event.wait(), name="stop")
        try:
            await asyncio.wait([starting, stopping], timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                collect_from_now()
                with _announced(component, access, listening, root, banner, open_browser=open_browser):
                    await stopping
            elif not stopping.done():
                raise BadOption(f"The plugins did not start within {START_TIMEOUT_S} s")
        finally:
            await cancel_and_wait(starting, stopping)


@contextlib.contextmanager
def _announced(
    component: LabComponent,
    access: LabAccess,
    listening: Listening,
    root: RootFolder,
    banner: Callable[[str], list[BannerLine]],
    *,
    open_browser: bool,
) -> Iterator[None]:
    """Say where the server is: in Jupyter's list of servers, in the log and, if it is to be, in a browser.

    banner(url): what is said on a terminal besides.
    """
    page = f"{component.url[:-1]}{access.base_url}{root.page}"
    if access.policy.token:
        page += f"?{urlencode({'token': access.policy.token})}"
    info: dict[str, Any] = {
        "url": f"{component.url[:-1]}{access.base_url}",
        "hostname": listening.ip or "localhost",
        "port": 0 if listening.sock else component.socks[0].getsockname()[1],
        "sock": listening.sock,
        "secure": listening.tls is not None,
        "base_url": access.base_url,
        "token": access.policy.token,
        "root_dir": str(root.folder),
        "password": bool(access.policy.password_hash),
        "version": __version__,
    }
    with listed(info):  # before the log says that it serves, for which programs wait
        if not listening.private:
            warn_of_reach(access.policy, listening.ip, public=listening.public)
        logger.info("Serving at %s", component.url)
        logger.info("Files of %s; kernels and terminals run there", root.folder)
        logger.info("Ctrl-C %s; a second one ends at once", "asks whether to end" if sys.stdin.isatty() else "ends it")
        # Not through the log, which shows no tokens.
        with_token = f"\nOpen this URL in a browser, it has the token:\n    {page}\n" if access.made_token else ""
        announce(f"fps-kernels lab {__version__}", banner(info["url"]), with_token)
        with opened_in_browser(page) if open_browser else contextlib.nullcontext():
            yield
