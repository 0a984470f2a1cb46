"""The options of Kernel Gateway's classes under their original names, so that its command lines and files work.

traitlets applies a section of a config file to the class of that name and to all that derive from it: the classes here
have the names and the ancestry of the original's, and nothing else of theirs. The application's own options are in
gateway_options.py.
"""

from __future__ import annotations

from collections.abc import Collection

from traitlets import Bool, Dict, Float, Integer, List, Set, Unicode
from traitlets.config import Config, Configurable

from ...option_traits import kernels_option
from ...options import OPTIONS
from .env_vars import EnvironmentDefaults

CELL_PARSER = "kernel_gateway.notebook_http.cell.parser"


class KernelManager(Configurable):
    shutdown_wait_time = kernels_option("shutdown_wait_time_s")
    autorestart = Bool(True, config=True, help="Whether to restart a kernel that dies.")
    transport_encryption = kernels_option("transport_encryption")
    transport = kernels_option("transport")


class MultiKernelManager(Configurable):
    default_kernel_name = Unicode(
        "python3", config=True, help="The same as `KernelGatewayApp.default_kernel_name`, which wins."
    )


class MappingKernelManager(MultiKernelManager):
    root_dir = kernels_option("root_dir")
    kernel_info_timeout = kernels_option("startup_timeout_s")
    cull_idle_timeout = kernels_option("cull_idle_timeout_s")
    cull_interval = kernels_option("cull_interval_s")
    cull_connected = kernels_option("cull_connected")
    cull_busy = kernels_option("cull_busy")
    untracked_message_types = kernels_option("untracked_message_types")
    max_clients_per_kernel = kernels_option("max_clients_per_kernel")
    allowed_message_types = List(Unicode(), config=True, help=OPTIONS["allowed_message_types"].help).tag(
        default_text="all"
    )
    allow_tracebacks = kernels_option("allow_tracebacks")
    traceback_replacement_message = kernels_option("traceback_replacement_message")
    buffer_offline_messages = Bool(
        True, config=True, help="Has no effect: messages for disconnected clients are always kept."
    )


class AsyncMappingKernelManager(MappingKernelManager):
    pass


class SeedingMappingKernelManager(AsyncMappingKernelManager):
    pass


class KernelSpecManager(Configurable):
    allowed_kernelspecs = Set(Unicode(), config=True, help=OPTIONS["allowed_kernelspecs"].help).tag(default_text="all")
    ensure_native_kernel = kernels_option("ensure_native_kernel")
    whitelist = Set(Unicode(), config=True, help="Deprecated name of `allowed_kernelspecs`. Both lists count.").tag(
        default_text="all"
    )


class KernelProvisionerFactory(Configurable):
    default_provisioner_name = kernels_option("default_provisioner_name")


class JupyterWebsocketPersonality(Configurable):
    environment_defaults = EnvironmentDefaults()
    list_kernels = Bool(False, config=True, help="Whether clients may list kernels and sessions.").tag(
        env="KG_LIST_KERNELS"
    )
    env_whitelist = List(Unicode(), config=True, help=OPTIONS["client_env"].help).tag(env="KG_ENV_WHITELIST")
    client_envs = List(Unicode(), config=True, help="Another name of `env_whitelist`. Both lists count.").tag(
        env="KG_CLIENT_ENVS"
    )


class NotebookHTTPPersonality(Configurable):
    environment_defaults = EnvironmentDefaults()
    cell_parser = Unicode(
        CELL_PARSER, config=True, help="notebook-http: the module that finds endpoints in the notebook."
    ).tag(env="KG_CELL_PARSER")
    comment_prefix = Dict(
        {None: "#", "scala": "//"},
        config=True,
        help="notebook-http: what a comment begins with, by the language of the kernel.",
    ).tag(default_text="`#`, for Scala `//`")
    allow_notebook_download = Bool(
        False, config=True, help="notebook-http: whether clients may download the notebook."
    ).tag(env="KG_ALLOW_NOTEBOOK_DOWNLOAD")
    static_path = Unicode(
        None, config=True, allow_none=True, help="notebook-http: a folder to serve as `/public`."
    ).tag(env="KG_STATIC_PATH")
    queue_limit = Integer(
        1000,
        config=True,
        help="notebook-http: how many requests may wait for a kernel. More are answered 503.",
    ).tag(env="KG_QUEUE_LIMIT")
    request_timeout_s = Float(
        600.0,
        config=True,
        help="notebook-http: seconds that a request may take, including its wait for a kernel. Then it is answered "
        "504, and its cell is interrupted. 0 means no limit.",
    ).tag(env="KG_REQUEST_TIMEOUT_S")
    max_body_bytes = Integer(
        10 * 1024 * 1024,
        config=True,
        help="notebook-http: the size of the largest body of a request, in bytes. Larger ones are answered 413.",
    ).tag(env="KG_MAX_BODY_BYTES")
    max_fields = Integer(
        10_000,
        config=True,
        help="notebook-http: how many fields a query or a form may have, and how many parts a multipart body. With "
        "more, a request is answered 400.",
    ).tag(env="KG_MAX_FIELDS")
    max_depth = Integer(
        100,
        config=True,
        help="notebook-http: how deeply a body of JSON may be nested. With more, a request is answered 400.",
    ).tag(env="KG_MAX_DEPTH")
    request_literal = Unicode(
        "",
        config=True,
        help="notebook-http: the language whose string literals a kernel of an unknown language has, such as `python`. "
        "Without it, such kernels are refused: a client's text could run code, as it can with a wrong value.",
    ).tag(env="KG_REQUEST_LITERAL")


CLASSES = [
    KernelManager,
    SeedingMappingKernelManager,
    KernelSpecManager,
    KernelProvisionerFactory,
    JupyterWebsocketPersonality,
    NotebookHTTPPersonality,
]
OF_THE_APPLICATION = {"KernelGatewayApp", "JupyterApp", "Application", "SingletonConfigurable", "LoggingConfigurable"}
"""Sections whose unknown names traitlets itself warns of when it makes the application."""


WITHOUT_MEANING = ("cookie_secret", "kernel_manager_class", "personality_class")
"""Options of the original's application that mean nothing here: there are no cookies, and no such classes.

The application has them, too: otherwise traitlets would warn of each four times, or guess that another was meant.
"""


def meaningless_options(config: Config) -> list[str]:
    """Those of WITHOUT_MEANING that are set, as Class.name."""
    found = [(section, name) for section in OF_THE_APPLICATION for name in config.get(section, ())]
    return sorted(f"{section}.{name}" for section, name in found if name in WITHOUT_MEANING)


def _known() -> dict[str, type[Configurable]]:
    return {base.__name__: base for cls in CLASSES for base in cls.mro() if issubclass(base, Configurable)}


def class_options(config: Config) -> dict[str, Config]:
    """The sections of classes that are not this program's: that which finds kernelspecs, and provisioners."""
    ours = _known().keys() | OF_THE_APPLICATION
    return {name: one for name, one in config.items() if isinstance(one, Config) and name not in ours}


def unknown_options(config: Config, others: Collection[str] = ()) -> list[str]:
    """What is set for classes that this program does not have, or never makes, as Class.name.

    traitlets warns only of names that a class does not have, when it makes one.

    others: the names of classes that are others' and are used.
    """
    known = _known()
    found = []
    for section, values in config.items():
        if section in OF_THE_APPLICATION or section in others or not isinstance(values, Config):
            continue
        names = known[section].class_trait_names(config=True) if section in known else []
        found += [f"{section}.{name}" for name in values if name not in names]
    return sorted(found)
