"""What the gateway says of itself on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import __version__
from ..api.table import METRICS_PATH, PAGE_PATH
from ..kernels.kernels_summary import kernels_summary
from ..serving.banner import BannerLine, announce, place_lines, watch_lines
from ..serving.log_formats import JSON
from .config.settings import Settings

if TYPE_CHECKING:
    from .config.gateway_options import KernelGatewayApp


class GatewayBanner:
    """A panel that says on a terminal what is served, once the URL is known."""

    def __init__(self, app: KernelGatewayApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    def show(self, url: str) -> None:
        """Show it, unless the log is for programs. url: with the base URL, and a slash at its end."""
        if self._app.log_format.lower() != JSON:
            announce(f"fps-kernels {__version__}", self._lines(url))

    def _lines(self, url: str) -> list[BannerLine]:
        settings = self._settings
        kernels = settings.kernels
        summary = {
            name: getattr(kernels, name) for name in ("keep_kernels", "prewarm", "max_kernels", "cull_idle_timeout_s")
        }
        lines = [("URL", url), ("Serves", self._what()), ("Who", self._who())]
        lines.append(("Kernels", kernels_summary(summary)))
        if settings.list_kernels and self._is_websocket:
            lines.append(("Page", f"{url}{PAGE_PATH[1:]}"))
        lines += place_lines(
            settings.listening,
            self._app.certfile,
            client_certificates=settings.access.policy.client_certificates,
            no_activity_timeout_s=settings.no_activity_timeout_s,
        )
        asks = sys.stdin.isatty() and not self._app.answer_yes
        watch = watch_lines(f"{url}{METRICS_PATH[1:]}", metrics_port=settings.metrics_port, asks=asks)
        return [*lines, ("API", f"{url}openapi.json"), *watch]

    @property
    def _is_websocket(self) -> bool:
        return self._settings.api in ("jupyter-websocket", "kernel_gateway.jupyter_websocket")

    def _what(self) -> str:
        settings = self._settings
        seed = f", seeded by {settings.seed_uri}" if settings.seed_uri else ""
        if self._is_websocket:
            return f"kernels over REST and WebSocket{seed}"
        if settings.api in ("notebook-http", "kernel_gateway.notebook_http"):
            return f"the notebook {settings.seed_uri} as an HTTP API"
        return f"{settings.api}{seed}"

    def _who(self) -> str:
        """Who may come in, without any secret."""
        policy, app = self._settings.access.policy, self._app
        ways = []
        if policy.token:
            named = "of auth_token (KG_AUTH_TOKEN)" if not app.auth_token_file else f"in {app.auth_token_file}"
            given = "auth_token" in app.cli_config.get("KernelGatewayApp", {})
            ways.append(f"with the token {'of the command line' if given else named}")
        if policy.proxy is not None:
            ways.append(f"users whom a proxy names in {policy.proxy.header}")
        if policy.client_certificates:
            ways.append("clients with a certificate")
        return ", or ".join(ways) if ways else "everybody who can reach it: there is no token (auth_token_file)"
