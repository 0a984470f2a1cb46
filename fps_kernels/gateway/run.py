"""From the command's options to a server that runs until a signal ends it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from traitlets.config.application import LevelFormatter

from ..api.metrics_server import bound_for_metrics
from ..api.routes import KernelRoutes
from ..errors import BadOption, KernelspecNotFound
from ..kernel_driver.kernelspec import Kernelspecs
from ..kernel_driver.spec_classes import SpecClasses, configurable_names
from ..kernels.keeping.opening import check_keeping, keepsake_of
from ..kernels.registry import KernelRegistry
from ..serving.access.reach import check_reach
from ..serving.event_loop import new_loop
from ..serving.gc_tuning import collect_from_now
from ..serving.http_server import url_of
from ..serving.log_formats import FORMAT, JSON, TEXT, log_format_problem, make_formatter
from ..serving.logs import configure, hide
from ..serving.own_memory import close_memory
from ..serving.rlimits import raise_limit
from ..serving.sockets import bound
from ..serving.stop_signals import StopSignals
from .config.read_settings import read
from .config.settings import Settings
from .context import GatewayContext
from .gateway_banner import GatewayBanner
from .gateway_host import GatewayHost
from .gateway_policy import GatewayPolicy
from .gateway_server import Gateway
from .personality_loader import load_personality
from .seed import Seed, read_seed

if TYPE_CHECKING:
    from .config.gateway_options import KernelGatewayApp

PATIENCE_S = 30
"""Seconds that the end may take besides what the personality and kernels have: a provisioner may be far away."""


def run(app: KernelGatewayApp) -> None:
    """Serve until a signal ends the server. Raises BadOption before anything is started."""
    if (problem := log_format_problem(app.log_format)) is not None:
        raise BadOption(f"log_format={app.log_format} {problem}")
    own = app.log_format == FORMAT or app.log_format.lower() in (JSON, TEXT)
    formatter = make_formatter(app.log_format) if own else LevelFormatter(fmt=app.log_format, datefmt=app.log_datefmt)
    configure(app.log_level, formatter)  # type: ignore[arg-type]  # an int or a str; traitlets says object
    settings = read(app)  # which may warn, in the form of all lines
    check_keeping(settings.kernels)
    hide(*settings.access.policy.secrets)
    close_memory()
    raise_limit()
    personality = load_personality(settings.api, app)
    seed = read_seed(settings.seed_uri) if settings.seed_uri else None
    policy = GatewayPolicy(settings, seed, personality.should_seed_cell)
    access, listening = settings.access, settings.listening
    check_reach(
        access.policy,
        listening.ip,
        public=listening.public,
        allowed_open=access.allowed_open,
        token_option="auth_token_file",
        proxy_option="proxy_secret_file",
        open_option="allow_open_access",
    )

    async def serve(socks: Sequence[socket.socket], metrics_socks: Sequence[socket.socket]) -> None:
        options = settings.kernels
        classes = SpecClasses.of(options)
        specs = Kernelspecs(options.default_kernel, settings.base_url, options.allowed_kernelspecs, classes)
        await specs.open()
        app.warn_of_unknown(await specs.run(configurable_names, classes, options.class_options))
        await check_kernelspec(specs, settings, seed)
        host = GatewayHost(settings.base_url, seeded=seed is not None)
        keepsake = keepsake_of(options, url_of(socks[0], listening.tls))
        kernels = KernelRoutes(KernelRegistry(options, specs, policy, keepsake=keepsake), host)
        context = GatewayContext(settings, seed, kernels)
        personality.set_context(context)
        app.settings, app.seed, app.kernels = settings, seed, kernels  # for personalities that know only `parent`
        stop.listen()
        banner = GatewayBanner(app, settings)
        await Gateway(context, socks, personality, metrics_socks, banner.show).serve(stop.event)

    collect_from_now()  # kernels may be started before anything is served, and take long
    patience_s = personality.shutdown_timeout_s + settings.kernels.shutdown_wait_time_s + PATIENCE_S
    with (
        StopSignals(ask=sys.stdin.isatty() and not app.answer_yes, patience_s=patience_s) as stop,
        bound(listening) as socks,
        bound_for_metrics(settings.metrics_ip, settings.metrics_port, "metrics_port") as metrics_socks,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        runner.run(serve(socks, metrics_socks))


async def check_kernelspec(specs: Kernelspecs, settings: Settings, seed: Seed | None) -> None:
    """Raises BadOption if the seed is for a kernelspec that does not exist."""
    if seed is None or settings.force_kernel_name or not seed.kernel_name:
        return
    try:
        await specs.find(seed.kernel_name)
    except KernelspecNotFound as exc:
        raise BadOption(f"seed_uri={seed.uri}: {exc.message}") from exc
