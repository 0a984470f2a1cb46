"""The command `fps-kernels`: a Jupyter application, with the options of Jupyter Kernel Gateway.

Its names are the original's: of the application, so that its config files are found, and of the classes,
so that its command lines and files work unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NoReturn

from jupyter_core.application import JupyterApp, NoStart, base_aliases, base_flags
from traitlets import Any, Bool, Dict, Float, Integer, List, TraitError, Unicode

from .. import __version__
from ..errors import FPSKernelsError
from ..serving.gc_tuning import collect_later
from .config.config_files import StrictJSONFileConfigLoader, StrictPyFileConfigLoader, check_named
from .config.env_vars import boolean, counts, integer, names, number
from .config.traits import CLASSES, environment_default, meaningless_options, unknown_options

if TYPE_CHECKING:
    from ..api.routes import KernelRoutes
    from .config.settings import Settings
    from .seed import Seed

SHARED_FLAGS = ("debug", "y", "generate-config", "show-config", "show-config-json")
FLAGS = {name: flag for name, flag in base_flags.items() if name in SHARED_FLAGS}
ALIASES = base_aliases | {
    "ip": "KernelGatewayApp.ip",
    "port": "KernelGatewayApp.port",
    "port_retries": "KernelGatewayApp.port_retries",
    "api": "KernelGatewayApp.api",
    "seed_uri": "KernelGatewayApp.seed_uri",
    "certfile": "KernelGatewayApp.certfile",
    "keyfile": "KernelGatewayApp.keyfile",
    "client-ca": "KernelGatewayApp.client_ca",
    "token": "KernelGatewayApp.auth_token",
}


def _option(text: str, variable: str, value: str = "") -> Unicode[str, str | bytes]:
    """value: only what the help says; see environment_default."""
    return Unicode(value, config=True, help=f"{text} ({variable} env var)")


def _without_meaning() -> Any:
    """Accepts what it is given; see WITHOUT_MEANING."""
    return Any(None, allow_none=True, config=True, help="Has no effect: it has no meaning here.")


class KernelGatewayApp(JupyterApp):
    """Serves Jupyter kernels over REST and WebSocket, without a notebook server."""

    name = "jupyter-kernel-gateway"
    version = __version__
    description = """
        Jupyter Kernel Gateway, on fps_kernels

        Provisions Jupyter kernels and proxies HTTP/Websocket traffic to them.
    """
    classes = CLASSES
    flags = FLAGS
    aliases = ALIASES
    python_config_loader_class = StrictPyFileConfigLoader
    json_config_loader_class = StrictJSONFileConfigLoader
    raise_config_file_errors = True

    settings: Settings
    """What all options come to; for the personality, as the following."""
    seed: Seed | None
    kernels: KernelRoutes
    """Like the resource that Jupyverse's plugins get: `registry`, `get_client`, `watch_kernels`."""

    ip = _option("IP address on which to listen; empty: all", "KG_IP", "127.0.0.1")
    port = Integer(8888, config=True, help="Port on which to listen (KG_PORT env var)")
    port_retries = Integer(
        50, config=True, help="Number of ports to try if the specified port is not available (KG_PORT_RETRIES env var)"
    )
    base_url = _option("The base path for mounting all API resources", "KG_BASE_URL", "/")
    auth_token = _option("Authorization token required for all requests; empty: none is", "KG_AUTH_TOKEN")
    allow_credentials = _option("Sets the Access-Control-Allow-Credentials header.", "KG_ALLOW_CREDENTIALS")
    allow_headers = _option("Sets the Access-Control-Allow-Headers header.", "KG_ALLOW_HEADERS")
    allow_methods = _option("Sets the Access-Control-Allow-Methods header.", "KG_ALLOW_METHODS")
    allow_origin = _option("Sets the Access-Control-Allow-Origin header.", "KG_ALLOW_ORIGIN")
    expose_headers = _option("Sets the Access-Control-Expose-Headers header.", "KG_EXPOSE_HEADERS")
    max_age = _option("Sets the Access-Control-Max-Age header.", "KG_MAX_AGE")
    trust_xheaders = Bool(
        config=True, help="Whether the X- headers of a proxy are believed. (KG_TRUST_XHEADERS env var)"
    )
    max_kernels = Integer(
        None, allow_none=True, config=True, help="How many kernels there may be at once. (KG_MAX_KERNELS env var)"
    )
    seed_uri = Unicode(
        None, allow_none=True, config=True, help="A notebook that is run on every kernel. (KG_SEED_URI env var)"
    )
    seed_cell_timeout = Float(
        600.0, config=True, help="Seconds that each cell of the seed notebook may run. (KG_SEED_CELL_TIMEOUT env var)"
    )
    prespawn_count = Integer(
        None, allow_none=True, config=True, help="Kernels that are started with the server. (KG_PRESPAWN_COUNT env var)"
    )
    prewarm = Dict(
        value_trait=Integer(min=0),
        key_trait=Unicode(),
        config=True,
        help="Kernels that are kept ready for POST /api/kernels, by kernelspec: python3=2. (KG_PREWARM env var)",
    )
    default_kernel_name = _option("The kernelspec used when a request names none", "KG_DEFAULT_KERNEL_NAME")
    force_kernel_name = _option("The kernelspec used whatever a request or notebook names", "KG_FORCE_KERNEL_NAME")
    env_process_whitelist = List(
        Unicode(),
        config=True,
        help="Names of the server's environment variables that kernels get, besides PATH and HOME; empty: all but "
        "secrets. (KG_ENV_PROCESS_WHITELIST env var)",
    )
    api = _option(
        "Which API to expose: kernel_gateway.jupyter_websocket, kernel_gateway.notebook_http, or a module of yours",
        "KG_API",
        "kernel_gateway.jupyter_websocket",
    )
    certfile = Unicode(None, allow_none=True, config=True, help="A TLS certificate file. (KG_CERTFILE env var)")
    keyfile = Unicode(None, allow_none=True, config=True, help="Its private key file. (KG_KEYFILE env var)")
    client_ca = Unicode(
        None, allow_none=True, config=True, help="A CA file: clients must have a certificate. (KG_CLIENT_CA env var)"
    )
    ssl_version = Integer(
        None, allow_none=True, config=True, help="A number of Python's ssl module. (KG_SSL_VERSION env var)"
    )
    ws_ping_interval = Integer(
        30, config=True, help="Seconds between two pings of a WebSocket; 0: none. (KG_WS_PING_INTERVAL_SECS env var)"
    )
    cookie_secret = _without_meaning()
    kernel_manager_class = _without_meaning()
    kernel_spec_manager_class = _without_meaning()
    personality_class = _without_meaning()

    _ip = environment_default("ip", "KG_IP", value="127.0.0.1")
    _port = environment_default("port", "KG_PORT", integer, 8888)
    _port_retries = environment_default("port_retries", "KG_PORT_RETRIES", integer, 50)
    _base_url = environment_default("base_url", "KG_BASE_URL", value="/")
    _auth_token = environment_default("auth_token", "KG_AUTH_TOKEN")
    _allow_credentials = environment_default("allow_credentials", "KG_ALLOW_CREDENTIALS")
    _allow_headers = environment_default("allow_headers", "KG_ALLOW_HEADERS")
    _allow_methods = environment_default("allow_methods", "KG_ALLOW_METHODS")
    _allow_origin = environment_default("allow_origin", "KG_ALLOW_ORIGIN")
    _expose_headers = environment_default("expose_headers", "KG_EXPOSE_HEADERS")
    _max_age = environment_default("max_age", "KG_MAX_AGE")
    _trust_xheaders = environment_default("trust_xheaders", "KG_TRUST_XHEADERS", boolean, False)
    _max_kernels = environment_default("max_kernels", "KG_MAX_KERNELS", integer, None)
    _seed_uri = environment_default("seed_uri", "KG_SEED_URI", value=None)
    _seed_cell_timeout = environment_default("seed_cell_timeout", "KG_SEED_CELL_TIMEOUT", number, 600.0)
    _prespawn_count = environment_default("prespawn_count", "KG_PRESPAWN_COUNT", integer, None)
    _prewarm = environment_default("prewarm", "KG_PREWARM", counts, {})
    _default_kernel_name = environment_default("default_kernel_name", "KG_DEFAULT_KERNEL_NAME")
    _force_kernel_name = environment_default("force_kernel_name", "KG_FORCE_KERNEL_NAME")
    _env_process_whitelist = environment_default("env_process_whitelist", "KG_ENV_PROCESS_WHITELIST", names, [])
    _api = environment_default("api", "KG_API", value="kernel_gateway.jupyter_websocket")
    _certfile = environment_default("certfile", "KG_CERTFILE", value=None)
    _keyfile = environment_default("keyfile", "KG_KEYFILE", value=None)
    _client_ca = environment_default("client_ca", "KG_CLIENT_CA", value=None)
    _ssl_version = environment_default("ssl_version", "KG_SSL_VERSION", integer, None)
    _ws_ping_interval = environment_default("ws_ping_interval", "KG_WS_PING_INTERVAL_SECS", integer, 30)

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # as JupyterApp does
        """Raises BadOption when a file cannot be loaded, or that of --config is not there."""
        check_named(self.config_file)
        super().load_config_file(suppress_errors)

    def start(self) -> None:
        super().start()  # ends the program for --generate-config and the like
        for option in meaningless_options(self.config):
            self.log.warning("The option %s has no meaning here: it has no effect", option)
        for option in unknown_options(self.config):
            self.log.warning("There is no option %s: it has no effect", option)
        from .run import run

        run(self)


def main(argv: list[str] | None = None) -> None:
    """The script. An error that keeps it from starting is one line on stderr, and exit code 1."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with collect_later():
            if arguments and (command := _command(arguments[0])) is not None:
                command(arguments[1:])
                return
            app = KernelGatewayApp.instance()
            app.initialize(argv)
            app.start()
    except NoStart:
        return
    except FPSKernelsError as exc:
        _exit(exc.message)
    except TraitError as exc:  # in options of other classes; the application reports its own
        _exit(str(exc))
    except KeyboardInterrupt:  # before the server handles signals
        sys.exit(130)


def _command(name: str) -> Callable[[list[str]], None] | None:
    """A subcommand, by its name in the entry point group `fps_kernels.commands`; None if there is none of that name."""
    if name.startswith("-"):
        return None
    for entry_point in entry_points(group="fps_kernels.commands", name=name):
        try:
            command: Callable[[list[str]], None] = entry_point.load()
        except ImportError as exc:
            _exit(f"The command {name} is not installed: install fps_kernels[{name}] (there is no {exc.name})")
        return command
    return None


def _exit(message: str) -> NoReturn:
    print(f"fps-kernels: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)
