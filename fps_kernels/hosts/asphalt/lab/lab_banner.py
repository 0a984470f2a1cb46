"""What `fps-kernels lab` says of itself on a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from ....api.table import METRICS_PATH, PAGE_PATH
from ....kernels.kernels_summary import kernels_summary
from ....options import OPTIONS
from ....serving.banner import BannerLine, place_lines, watch_lines
from ....serving.log_formats import JSON
from ....serving.sockets import Listening
from .lab_access import LabAccess
from .root_folder import RootFolder


def lab_banner(
    options: argparse.Namespace,
    components: Mapping[str, Mapping[str, Any]],
    access: LabAccess,
    listening: Listening,
    root: RootFolder,
    url: str,
) -> list[BannerLine]:
    """The lines of the panel; none where the log is for programs.

    components: the configuration of the plugins, by name.
    url: of the server, with its base URL and a slash at its end.
    """
    if options.log_format.lower() == JSON:
        return []
    defaults = {name: OPTIONS[name].default for name in ("keep_kernels", "prewarm", "max_kernels")}
    plugin = components.get("kernels")
    kernels = "none: the plugin is disabled" if plugin is None else kernels_summary({**defaults, **plugin})
    lines = [
        ("URL", f"{url}lab"),
        ("Who", _who(options, access)),
        ("Files", f"{root.folder}; kernels and terminals run there"),
        ("Kernels", kernels),
    ]
    if plugin is not None:
        lines.append(("Page", f"{url}{PAGE_PATH[1:]}"))
    lines += place_lines(
        listening,
        options.certfile,
        client_certificates=bool(options.client_ca),
        no_activity_timeout_s=options.shutdown_no_activity_timeout_s,
    )
    metrics = f"{url}{METRICS_PATH[1:]}"
    return [*lines, *watch_lines(metrics, metrics_port=options.metrics_port, asks=asks(options))]


def asks(options: argparse.Namespace) -> bool:
    """Whether Ctrl-C asks on the terminal first."""
    return sys.stdin.isatty() and not options.yes


def _who(options: argparse.Namespace, access: LabAccess) -> str:
    """Who may come in, without any secret."""
    policy = access.policy
    ways = []
    if access.made_token:
        ways.append("with the token that is in the URL below")
    elif policy.token:
        where = "of --token" if options.token else f"in {options.token_file}" if options.token_file else ""
        ways.append(f"with the token {where or 'of FPS_KERNELS_TOKEN or FPS_KERNELS_TOKEN_FILE'}")
    if policy.password_hash:
        ways.append("with the password")
    if policy.proxy is not None:
        ways.append(f"users whom a proxy names in {options.proxy_user_header}")
    return ", or ".join(ways) if ways else "everybody who can reach it: there is no token"
