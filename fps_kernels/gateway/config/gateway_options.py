"""The application, a Jupyter application with the options of Jupyter Kernel Gateway.

The names of the class and of the application are the original's, so that its command lines and config files are found
and work unchanged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Literal

from jupyter_core.application import JupyterApp, base_aliases, base_flags
from traitlets import Any, Bool, Dict, Float, Integer, List, Unicode
from traitlets.config.application import LevelFormatter

from ... import __version__
from ...errors import BadOption
from ...option_traits import kernels_option
from ...options import Bounds
from ...serving.log_formats import FORMAT, log_format_problem
from ...serving.service_variables import service_warnings
from ...serving.serving_limits import MESSAGE_BOUNDS, ServingLimits
from ...serving.unix_socket import DEFAULT_MODE
from .command_line import check_words, did_you_mean
from .config_files import StrictJSONFileConfigLoader, StrictPyFileConfigLoader, check_named
from .env_vars import EnvironmentDefaults
from .short_help import short_help
from .traits import CLASSES, meaningless_options, unknown_options

if TYPE_CHECKING:
    from ...api.routes import KernelRoutes
    from ..seed import Seed
    from .settings import Settings

SERVING = ServingLimits()
SHARED_FLAGS = ("debug", "y", "generate-config", "show-config", "show-config-json")
FLAGS = {name: flag for name, flag in base_flags.items() if name in SHARED_FLAGS}
ALIASES = base_aliases | {
    "ip": "KernelGatewayApp.ip",
    "port": "KernelGatewayApp.port",
    "port_retries": "KernelGatewayApp.port_retries",
    "sock": "KernelGatewayApp.sock",
    "sock-mode": "KernelGatewayApp.sock_mode",
    "api": "KernelGatewayApp.api",
    "seed_uri": "KernelGatewayApp.seed_uri",
    "certfile": "KernelGatewayApp.certfile",
    "keyfile": "KernelGatewayApp.keyfile",
    "client-ca": "KernelGatewayApp.client_ca",
    "token": "KernelGatewayApp.auth_token",
}
SUMMARY = "Serves Jupyter kernels over REST and WebSocket, without a notebook server, as Jupyter Kernel Gateway does."
COMMANDS = {
    "lab": ("", "JupyterLab and the other plugins of Jupyverse."),
    "run": ("", "Execute a notebook, and save it with its outputs."),
    "kernels": ("", "List the kernels that outlive their server."),
    "stop": ("", "End kernels whose server is gone."),
    "password": ("", "Write the hash of a password to a file, for `lab`."),
    "completion": ("", "Print a script by which bash, zsh or fish completes all of this."),
}
"""For the help: they are started before this application is made."""
NOT_ALIASES = {"help", "help-all", "version"}


def _each(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """All names of an option that may have several."""
    return (names,) if isinstance(names, str) else names


def _without_meaning() -> Any:
    """An option that takes any value; see WITHOUT_MEANING."""
    return Any(None, allow_none=True, config=True, help="Has no effect: it has no meaning here.")


def _cors_header(name: str, unit: str = "") -> Unicode[str, str | bytes]:
    header = f"Access-Control-{name}"
    help = f"The header {header} of every response{unit}."
    variable = f"KG_{name.upper().replace('-', '_')}"
    return Unicode(config=True, help=help).tag(env=variable, cors_header=header)


class EarlyFormatter(LevelFormatter):
    """Of what is logged before the log is configured: traitlets makes one of the option as it is."""

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, style: Literal["%"] = "%") -> None:
        known = fmt is not None and "%" in fmt and log_format_problem(fmt) is None
        super().__init__(fmt if known else FORMAT, datefmt, style)


class KernelGatewayApp(JupyterApp):
    """Serves Jupyter kernels over REST and WebSocket, without a notebook server."""

    name = "jupyter-kernel-gateway"
    version = __version__
    description = """
        Jupyter Kernel Gateway, on fps_kernels

        Provisions Jupyter kernels and proxies HTTP/Websocket traffic to them.
    """
    subcommands = COMMANDS
    subcommand_description = "Commands are started as `fps-kernels COMMAND`. With `--help` they explain themselves."
    classes = CLASSES
    flags = FLAGS
    aliases = ALIASES
    python_config_loader_class = StrictPyFileConfigLoader
    json_config_loader_class = StrictJSONFileConfigLoader
    raise_config_file_errors = True

    serve: Callable[[KernelGatewayApp], None]
    """What `start` ends with. Set by the command: options know nothing of servers."""
    settings: Settings
    """The checked values of all options. Personalities read it, and the next two."""
    seed: Seed | None
    kernels: KernelRoutes
    """Like the resource that Jupyverse's plugins get: `registry`, `get_client`, `watch_kernels`."""

    log_format = Unicode(
        FORMAT, config=True, help="The form of a line of the log, as of Python's `logging`; `json` for lines of JSON."
    ).tag(env="KG_LOG_FORMAT")
    _log_formatter_cls = EarlyFormatter  # type: ignore[assignment]  # mypy takes it for the class itself
    environment_defaults = EnvironmentDefaults()
    ip = Unicode(
        "127.0.0.1",
        config=True,
        help="The address to listen on, or the name of a host, all of whose addresses are listened on. Empty means all "
        "addresses, IPv4 and IPv6.",
    ).tag(env="KG_IP")
    port = Integer(
        8888, config=True, help="The port to listen on, the same for all addresses. 0 lets the system choose."
    ).tag(env="KG_PORT", bounds=Bounds(ge=0, le=65535))
    port_retries = Integer(50, config=True, help="How many of the next ports to try when it is taken.").tag(
        env="KG_PORT_RETRIES", bounds=Bounds(ge=0)
    )
    metrics_port = Integer(
        None,
        allow_none=True,
        config=True,
        help="A port on which `/metrics` is served, without a token; it stays on the other one, too. 0 lets the system "
        "choose.",
    ).tag(env="KG_METRICS_PORT", bounds=Bounds(ge=0, le=65535))
    metrics_ip = Unicode(
        "127.0.0.1", config=True, help="The address of `metrics_port`. Whoever reaches it reads the numbers."
    ).tag(env="KG_METRICS_IP")
    sock = Unicode(
        config=True,
        help="The path of a Unix socket to listen on, instead of an address and a port. What is asked of requests "
        "stays the same.",
    ).tag(env="KG_SOCK")
    sock_mode = Unicode(
        DEFAULT_MODE, config=True, help="The permissions of the file of the Unix socket: who may connect to it."
    ).tag(env="KG_SOCK_MODE")
    base_url = Unicode("/", config=True, help="The path that all paths begin with.").tag(env="KG_BASE_URL")
    auth_token = Unicode(
        config=True,
        help="The token that every request must have, as `Authorization: token X`, `Authorization: Bearer X` or "
        "`?token=X`. Empty means that none is needed.",
    ).tag(env="KG_AUTH_TOKEN")
    auth_token_file = Unicode(
        config=True, help="A file with the token, which other users of the machine should not be able to read."
    ).tag(env="KG_AUTH_TOKEN_FILE")
    proxy_user_header = Unicode(
        config=True,
        help="The header in which a proxy names the user that it has authenticated, such as `X-Forwarded-User`. "
        "Requests with it need no token.",
    ).tag(env="KG_PROXY_USER_HEADER")
    proxy_secret_file = Unicode(
        config=True,
        help="A file with the secret that the proxy sends as `X-Fps-Kernels-Proxy-Secret`. Without it the proxy's "
        "word is not believed.",
    ).tag(env="KG_PROXY_SECRET_FILE")
    local_hostnames = List(
        Unicode(),
        config=True,
        help="Names by which a server without a token may be called that listens to this machine only, besides "
        "`localhost` and the addresses of loopback.",
    ).tag(env="KG_LOCAL_HOSTNAMES")
    allow_remote_access = Bool(
        False, config=True, help="Whether such a server may be called by any name, also by one of a web site's choice."
    ).tag(env="KG_ALLOW_REMOTE_ACCESS")
    allow_open_access = Bool(
        False,
        config=True,
        help="Whether to serve other machines though there is no token, or one that can be guessed. Everyone who "
        "reaches the server can run code then.",
    ).tag(env="KG_ALLOW_OPEN_ACCESS")
    allow_origin = Unicode(
        config=True,
        help="The origin whose pages are let in besides the server's own, or `*` for all; and the header "
        "Access-Control-Allow-Origin of every response.",
    ).tag(env="KG_ALLOW_ORIGIN", cors_header="Access-Control-Allow-Origin")
    allow_origin_pat = Unicode(
        config=True, help="A regular expression. Pages whose whole origin matches it are let in, too."
    ).tag(env="KG_ALLOW_ORIGIN_PAT")
    allow_methods = _cors_header("Allow-Methods")
    allow_headers = _cors_header("Allow-Headers")
    allow_credentials = _cors_header("Allow-Credentials")
    expose_headers = _cors_header("Expose-Headers")
    max_age = _cors_header("Max-Age", ", in seconds")
    trust_xheaders = Bool(
        False,
        config=True,
        help="Whether to believe the headers of a proxy: X-Real-IP, X-Forwarded-For, X-Forwarded-Host, X-Scheme and "
        "X-Forwarded-Proto.",
    ).tag(env="KG_TRUST_XHEADERS")
    max_kernels = kernels_option("max_kernels").tag(env="KG_MAX_KERNELS")
    prespawn_count = Integer(
        None, allow_none=True, config=True, help="How many kernels to start before the server answers."
    ).tag(env="KG_PRESPAWN_COUNT", bounds=Bounds(ge=0))
    prewarm = Dict(
        value_trait=Integer(min=0),
        key_trait=Unicode(),
        config=True,
        help="How many kernels of each kernelspec to keep ready for `POST /api/kernels`, as in `python3=2`. Only "
        "IPython kernels can be kept ready.",
    ).tag(env="KG_PREWARM", kernels_option="prewarm")
    start_answer_s = Float(
        10.0,
        config=True,
        help="Seconds after which `POST /api/kernels` of a program is answered, even if the kernel is not ready yet. "
        "Sessions, pages and Jupyter servers in front of the gateway get their answer at once: people type meanwhile. "
        "With a seed, all are answered when it has run.",
    ).tag(env="KG_START_ANSWER_S", kernels_option="start_answer_s")
    restart_answer_s = kernels_option("restart_answer_s").tag(env="KG_RESTART_ANSWER_S")
    keep_kernels = kernels_option("keep_kernels").tag(env="KG_KEEP_KERNELS")
    state_dir = kernels_option("state_dir").tag(env="KG_STATE_DIR")
    orphan_timeout_s = kernels_option("orphan_timeout_s").tag(env="KG_ORPHAN_TIMEOUT_S")
    traces = kernels_option("traces").tag(env="KG_TRACES")
    default_kernel_name = Unicode(
        config=True, help="The kernelspec to start when a request names none. `python` stands for the native one."
    ).tag(env="KG_DEFAULT_KERNEL_NAME")
    force_kernel_name = Unicode(
        config=True, help="The kernelspec to start whatever a request or the seed notebook names."
    ).tag(env="KG_FORCE_KERNEL_NAME")
    seed_uri = Unicode(
        None,
        allow_none=True,
        config=True,
        help="A notebook, by path or http(s) URL, whose cells are run on every kernel of its kernelspec, and again "
        "after a restart.",
    ).tag(env="KG_SEED_URI")
    seed_cell_timeout = Float(600.0, config=True, help="Seconds that each cell of the seed notebook may run.").tag(
        env="KG_SEED_CELL_TIMEOUT", bounds=Bounds(gt=0)
    )
    env_process_whitelist = List(
        Unicode(),
        config=True,
        help="Names of the server's environment variables that kernels get, besides `PATH` and `HOME`. By default they "
        "get all but `KG_*` and the server's tokens.",
    ).tag(env="KG_ENV_PROCESS_WHITELIST", default_text="all")
    kernel_env_pattern = kernels_option("kernel_env_pattern").tag(env="KG_KERNEL_ENV_PATTERN")
    kernel_spec_manager_class = kernels_option("kernel_spec_manager_class")
    api = Unicode(
        "kernel_gateway.jupyter_websocket",
        config=True,
        help="What to serve, a personality: `kernel_gateway.jupyter_websocket`, `kernel_gateway.notebook_http`, or a "
        "module with a function `create_personality`.",
    ).tag(env="KG_API")
    certfile = Unicode(
        None, allow_none=True, config=True, help="The server's certificate, a PEM file. Only TLS is served then."
    ).tag(env="KG_CERTFILE")
    keyfile = Unicode(
        None,
        allow_none=True,
        config=True,
        help="The private key, a PEM file without a pass phrase. Not needed if it is in `certfile`.",
    ).tag(env="KG_KEYFILE")
    client_ca = Unicode(
        None,
        allow_none=True,
        config=True,
        help="A certificate authority, a PEM file. Clients must have a certificate from it.",
    ).tag(env="KG_CLIENT_CA")
    ssl_version = Integer(
        None,
        allow_none=True,
        config=True,
        help="The TLS protocol, as the number of a `PROTOCOL_` constant of Python's module `ssl`.",
    ).tag(env="KG_SSL_VERSION", default_text="all safe ones")
    ws_ping_interval = Integer(30, config=True, help="Seconds between pings of a WebSocket. 0 disables them.").tag(
        env="KG_WS_PING_INTERVAL_SECS", bounds=Bounds(ge=0)
    )
    ws_max_message_bytes = Integer(
        SERVING.max_message_bytes,
        config=True,
        help="Size of the largest WebSocket message that a client may send. All messages that have not arrived "
        "completely or not been taken may have twice that size together.",
    ).tag(env="KG_WS_MAX_MESSAGE_BYTES", bounds=MESSAGE_BOUNDS)
    max_connections = Integer(
        None,
        allow_none=True,
        config=True,
        help="How many connections may be open. When there are more, the oldest idle one is closed.",
    ).tag(env="KG_MAX_CONNECTIONS", bounds=Bounds(ge=1), default_text="half of `ulimit -n`")
    keep_alive_s = Float(
        SERVING.keep_alive_s,
        config=True,
        help="Seconds that a connection may stay open between two requests. Should be longer than a proxy's own.",
    ).tag(env="KG_KEEP_ALIVE_S", bounds=Bounds(gt=0))
    head_timeout_s = Float(
        SERVING.head_timeout_s,
        config=True,
        help="Seconds within which the headers of a request have to arrive, counted from the connection or from the "
        "first byte of a later request.",
    ).tag(env="KG_HEAD_TIMEOUT_S", bounds=Bounds(gt=0))
    shutdown_no_activity_timeout = Float(
        0.0,
        config=True,
        help="Seconds without kernels and requests after which the server ends; 0: never. What monitors ask for does "
        "not count.",
    ).tag(env="KG_SHUTDOWN_NO_ACTIVITY_TIMEOUT", bounds=Bounds(ge=0))
    cookie_secret = _without_meaning()
    kernel_manager_class = _without_meaning()
    personality_class = _without_meaning()

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Raises BadOption for a word or an option that means nothing."""
        words = sys.argv[1:] if argv is None else argv
        options = {*NOT_ALIASES, *(name for names in (*self.aliases, *self.flags) for name in _each(names))}
        check_words(words, options)
        super().parse_command_line(argv)
        own = self.class_own_traits(config=True)
        for name in self.cli_config.get("KernelGatewayApp", {}):
            if not self.has_trait(name):
                raise BadOption(f"--KernelGatewayApp.{name}: there is no such option{did_you_mean(name, own)}")
        for word in self.extra_args:
            if word in self.subcommands:
                raise BadOption(f"{word}: a command has to be the first word")
            raise BadOption(f"{word}: there is no such command{did_you_mean(word, self.subcommands)}")

    def emit_help(self, classes: bool = False) -> Iterator[str]:  # type: ignore[override]  # a generator there
        """The lines of --help, or with `classes` those of --help-all."""
        if classes:
            yield from super().emit_help(classes)
            return
        traits = self.class_traits(config=True)
        named = {alias: traits[option.rpartition(".")[2]] for alias, option in self.aliases.items()}
        yield from short_help(SUMMARY, self.subcommands, named)

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # as JupyterApp does
        """Raises BadOption when a file cannot be loaded, or when that of --config does not exist."""
        check_named(self.config_file)
        super().load_config_file(suppress_errors)

    def write_default_config(self) -> None:
        """Raises BadOption when the file cannot be written."""
        try:
            super().write_default_config()
        except OSError as exc:
            raise BadOption(f"generate-config: {exc.filename}: {exc.strerror}") from exc

    def start(self) -> None:
        """Warn of options without effect, and serve. Not called for --show-config and the like."""
        super().start()  # ends the program for --generate-config
        for option in meaningless_options(self.config):
            self.log.warning("The option %s has no meaning here: it has no effect", option)
        for warning in service_warnings(os.environ):
            self.log.warning("%s", warning)
        self.serve(self)

    def warn_of_unknown(self, others: Collection[str]) -> None:
        """Warn of options of classes that are not used; others: the names of those that are, and not ours."""
        for option in unknown_options(self.config, others):
            self.log.warning("Unknown option %s: it has no effect", option)
