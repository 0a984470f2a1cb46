"""From the command's options to a server that runs until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from ..api.routes import KernelRoutes
from ..errors import BadOption, KernelspecNotFound
from ..kernel_driver.kernelspec import Kernelspecs
from ..serving.event_loop import new_loop
from ..serving.gc_tuning import collect_from_now
from ..serving.logs import configure
from ..serving.rlimits import raise_limit
from ..serving.sockets import bind
from .config.read_settings import read
from .config.settings import Settings
from .gateway_policy import GatewayPolicy
from .gateway_server import Gateway
from .personality_loader import load_personality
from .seed import Seed, read_seed

if TYPE_CHECKING:
    from .config.gateway_options import KernelGatewayApp

logger = logging.getLogger(__name__)


def run(app: KernelGatewayApp) -> None:
    """Returns when the server has ended. Raises BadOption, before anything is started."""
    settings = read(app)
    configure(app.log_level)  # type: ignore[arg-type]  # an int or a str; traitlets says object
    raise_limit()
    personality = load_personality(settings.api, app)
    seed = read_seed(settings.seed_uri) if settings.seed_uri else None
    check_kernelspec(settings, seed)
    policy = GatewayPolicy(settings, seed, personality.should_seed_cell)
    app.settings, app.seed = settings, seed

    def publish(kernels: KernelRoutes) -> None:
        app.kernels = kernels

    gateway = Gateway(settings, bind(settings.listening), policy, personality, publish)
    if settings.listening.public and not settings.access.token:
        logger.warning(
            "This server is open to everybody who reaches %s: whoever does can run code. Set auth_token",
            settings.listening.ip or "this machine",
        )
    collect_from_now()  # kernels may be started before anything is served, and take long
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(gateway, ask=sys.stdin.isatty() and not app.answer_yes))


def check_kernelspec(settings: Settings, seed: Seed | None) -> None:
    """Raises BadOption when the seed is for a kernelspec that is not there."""
    if seed is None or settings.force_kernel_name or not seed.kernel_name:
        return
    try:
        Kernelspecs(allowed=settings.kernels.allowed_kernelspecs).get(seed.kernel_name)
    except KernelspecNotFound as exc:
        raise BadOption(f"seed_uri={seed.uri}: {exc.message}") from exc


async def _serve(gateway: Gateway, *, ask: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _confirm if ask else lambda _: stop.set(), stop)
    await gateway.serve(stop)


def _confirm(stop: asyncio.Event) -> None:
    """Ask on the terminal; a second Ctrl-C, or no answer within five seconds, goes on or ends as in Jupyter."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    print("Shut down this server (y/[n])? ", end="", flush=True)

    def on_answer() -> None:
        loop.remove_reader(sys.stdin)
        give_up.cancel()
        if sys.stdin.readline().strip().lower().startswith("y"):
            stop.set()
        else:
            resume()

    def resume() -> None:
        loop.remove_reader(sys.stdin)
        print("No: it goes on", flush=True)
        loop.add_signal_handler(signal.SIGINT, _confirm, stop)

    loop.add_reader(sys.stdin, on_answer)
    give_up = loop.call_later(5, resume)
