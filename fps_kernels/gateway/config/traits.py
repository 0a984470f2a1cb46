"""The options of Kernel Gateway under their original names, so that its command lines and files work.

traitlets applies a section of a config file to the class of that name and all that derive from it: the
classes here have the names and the ancestry of the original's, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, Set, Unicode, default
from traitlets.config import Config, Configurable

from .env_vars import boolean, from_environment, integer, names, number

CELL_PARSER = "kernel_gateway.notebook_http.cell.parser"


def environment_default(trait: str, variable: str, parse: Callable[[str], Any] = str, value: Any = "") -> Any:
    """A dynamic default of a trait: the environment variable, else `value`.

    The trait's static default must be the same value: `--help-all` and `--generate-config` show that one.
    """

    @default(trait)
    def get(self: Any) -> Any:
        return from_environment(variable, parse, value)

    return get


class KernelManager(Configurable):
    shutdown_wait_time = Float(5.0, config=True, help="Seconds that a kernel has to end politely before it is killed.")
    autorestart = Bool(True, config=True, help="Whether a kernel that dies is restarted.")
    transport_encryption = CaselessStrEnum(
        ["auto", "required", "disabled"], "auto", config=True, help="CurveZMQ between server and kernels."
    )


class MultiKernelManager(Configurable):
    default_kernel_name = Unicode("python3", config=True, help="The kernelspec used when a request names none.")


class MappingKernelManager(MultiKernelManager):
    root_dir = Unicode("", config=True, help="The folder that kernels start in or below. Default: the current one.")
    cull_idle_timeout = Float(0, config=True, help="Seconds without activity after which a kernel is culled; 0: never.")
    cull_interval = Float(300, config=True, help="Seconds between two looks for idle kernels.")
    cull_connected = Bool(False, config=True, help="Whether kernels with connected clients are culled, too.")
    cull_busy = Bool(False, config=True, help="Whether busy kernels are culled, too.")
    buffer_offline_messages = Bool(True, config=True, help="Has no effect: messages of absent clients are always kept.")
    allowed_message_types = List(
        Unicode(), config=True, help="Types of messages that clients may send to kernels. Default: all."
    )
    kernel_info_timeout = Float(60, config=True, help="Seconds from the launch of a kernel to its first answer.")


class AsyncMappingKernelManager(MappingKernelManager):
    pass


class SeedingMappingKernelManager(AsyncMappingKernelManager):
    pass


class KernelSpecManager(Configurable):
    whitelist = Set(Unicode(), config=True, help="Deprecated name of allowed_kernelspecs.")
    allowed_kernelspecs = Set(Unicode(), config=True, help="Names of kernelspecs that may be used. Default: all.")


class JupyterWebsocketPersonality(Configurable):
    list_kernels = Bool(
        config=True, help="Whether the running kernels and sessions may be listed. (KG_LIST_KERNELS env var)"
    )
    env_whitelist = List(
        Unicode(),
        config=True,
        help="Names of environment variables that a request may set for its kernel. (KG_ENV_WHITELIST env var)",
    )
    client_envs = List(Unicode(), config=True, help="Another name of env_whitelist. (KG_CLIENT_ENVS env var)")

    _list_kernels = environment_default("list_kernels", "KG_LIST_KERNELS", boolean, False)
    _env_whitelist = environment_default("env_whitelist", "KG_ENV_WHITELIST", names, [])
    _client_envs = environment_default("client_envs", "KG_CLIENT_ENVS", names, [])


class NotebookHTTPPersonality(Configurable):
    cell_parser = Unicode(
        CELL_PARSER, config=True, help="The module that parses the notebook for endpoints. (KG_CELL_PARSER env var)"
    )
    comment_prefix = Dict({None: "#", "scala": "//"}, config=True, help="Comment syntax by language of the kernel.")
    allow_notebook_download = Bool(
        config=True, help="Whether the notebook can be downloaded. (KG_ALLOW_NOTEBOOK_DOWNLOAD env var)"
    )
    static_path = Unicode(
        None, config=True, allow_none=True, help="A folder that is served as /public. (KG_STATIC_PATH env var)"
    )

    queue_limit = Integer(
        1000,
        config=True,
        help="How many requests may wait for a kernel; more are answered 503. (KG_QUEUE_LIMIT env var)",
    )
    request_timeout_s = Float(
        600.0,
        config=True,
        help="Seconds that a request may take, with its wait for a kernel, until it is answered 504 and its cell "
        "interrupted; 0: no limit. (KG_REQUEST_TIMEOUT_S env var)",
    )

    _queue_limit = environment_default("queue_limit", "KG_QUEUE_LIMIT", integer, 1000)
    _request_timeout_s = environment_default("request_timeout_s", "KG_REQUEST_TIMEOUT_S", number, 600.0)
    _cell_parser = environment_default("cell_parser", "KG_CELL_PARSER", str, CELL_PARSER)
    _download = environment_default("allow_notebook_download", "KG_ALLOW_NOTEBOOK_DOWNLOAD", boolean, False)
    _static_path = environment_default("static_path", "KG_STATIC_PATH", str, None)


CLASSES = [
    KernelManager,
    SeedingMappingKernelManager,
    KernelSpecManager,
    JupyterWebsocketPersonality,
    NotebookHTTPPersonality,
]
OF_THE_APPLICATION = {"KernelGatewayApp", "JupyterApp", "Application", "SingletonConfigurable", "LoggingConfigurable"}
"""Sections whose unknown names traitlets itself warns of, as it makes the application."""


WITHOUT_MEANING = ("cookie_secret", "kernel_manager_class", "kernel_spec_manager_class", "personality_class")
"""Options of the original's application: there are no cookies here, and no classes of Jupyter Server's.

The application has them, too: traitlets would warn of each four times, or guess that others were meant.
"""


def meaningless_options(config: Config) -> list[str]:
    """As Class.name: those of WITHOUT_MEANING that are set."""
    found = [(section, name) for section in OF_THE_APPLICATION for name in config.get(section, ())]
    return sorted(f"{section}.{name}" for section, name in found if name in WITHOUT_MEANING)


def unknown_options(config: Config) -> list[str]:
    """As Class.name: what is set for classes that this program does not have, or never makes.

    traitlets warns only of names that a class does not have, when it makes one.
    """
    known = {base.__name__: base for cls in CLASSES for base in cls.mro() if issubclass(base, Configurable)}
    found = []
    for section, values in config.items():
        if section in OF_THE_APPLICATION or not isinstance(values, Config):
            continue
        names = known[section].class_trait_names(config=True) if section in known else []
        found += [f"{section}.{name}" for name in values if name not in names]
    return sorted(found)
