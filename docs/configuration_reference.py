"""What stands on the page configuration.md in the place of its marker: every option of every host.

Made from the declarations of the options, as the tables of option_tables.py are. What another program calls an option
of ours is the only thing that is written down here; a test asks that program whether it has an option of that name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, Set, TraitType
from traitlets.config import Configurable

from fps_kernels.gateway.config.env_vars import env_note
from fps_kernels.gateway.config.gateway_options import KernelGatewayApp
from fps_kernels.gateway.config.traits import CLASSES, WITHOUT_MEANING
from fps_kernels.hosts.asphalt.lab.lab_parser import parser
from fps_kernels.hosts.jupyter_server.hosted_options import HOSTED_OPTIONS, MESSAGE_OPTION, OWN_OPTIONS
from fps_kernels.hosts.jupyverse.configuration import HOST_OPTIONS
from fps_kernels.options import OPTIONS, Bounds, Option

GATEWAYS_NAMES = {
    "allow_origin": ("KernelGatewayApp", "allow_origin"),
    "allow_origin_pat": ("KernelGatewayApp", "allow_origin_pat"),
    "allowed_kernelspecs": ("KernelSpecManager", "allowed_kernelspecs"),
    "allowed_message_types": ("MappingKernelManager", "allowed_message_types"),
    "client_env": ("JupyterWebsocketPersonality", "env_whitelist"),
    "default_kernel": ("KernelGatewayApp", "default_kernel_name"),
}
"""Class and name of what the gateway reads in more than one place; the other traits know which option they are."""
JUPYTER_SERVERS_NAMES = {
    "allow_external_kernels": "ServerApp.allow_external_kernels",
    "allow_origin": "ServerApp.allow_origin",
    "allow_origin_pat": "ServerApp.allow_origin_pat",
    "allow_tracebacks": "MappingKernelManager.allow_tracebacks",
    "allowed_kernelspecs": "KernelSpecManager.allowed_kernelspecs",
    "allowed_message_types": "MappingKernelManager.allowed_message_types",
    "cull_busy": "MappingKernelManager.cull_busy",
    "cull_connected": "MappingKernelManager.cull_connected",
    "cull_idle_timeout_s": "MappingKernelManager.cull_idle_timeout",
    "cull_interval_s": "MappingKernelManager.cull_interval",
    "default_kernel": "MultiKernelManager.default_kernel_name",
    "default_provisioner_name": "KernelProvisionerFactory.default_provisioner_name",
    "ensure_native_kernel": "KernelSpecManager.ensure_native_kernel",
    "external_connection_dir": "ServerApp.external_connection_dir",
    "iopub_data_rate_limit": "ZMQChannelsWebsocketConnection.iopub_data_rate_limit",
    "iopub_msg_rate_limit": "ZMQChannelsWebsocketConnection.iopub_msg_rate_limit",
    "kernel_spec_manager_class": "ServerApp.kernel_spec_manager_class",
    "rate_limit_window_s": "ZMQChannelsWebsocketConnection.rate_limit_window",
    "restart_limit": "KernelRestarter.restart_limit",
    "root_dir": "ServerApp.root_dir",
    "shutdown_wait_time_s": "KernelManager.shutdown_wait_time",
    "startup_timeout_s": "MappingKernelManager.kernel_info_timeout",
    "traceback_replacement_message": "MappingKernelManager.traceback_replacement_message",
    "transport": "KernelManager.transport",
    "transport_encryption": "KernelManager.transport_encryption",
    "untracked_message_types": "MappingKernelManager.untracked_message_types",
}
"""Options of Jupyter Server itself, which it has without us, too, and which count for kernels of ours."""
OWN_OF_LAB = {"allow_origin": "--allow-origin", "allow_origin_pat": "--allow-origin-pat", "root_dir": "--root-dir"}
"""Options of kernels that `fps-kernels lab` also has under a name of its own."""
WORDS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}


def lines() -> Iterator[str]:
    yield from ("## Of kernels", "", "These mean the same in every host; what differs is how they are set.", "")
    yield from (" · ".join(f"[`{name}`](#{name})" for name in (*OPTIONS, *HOST_OPTIONS)), "")
    for option in (*OPTIONS.values(), *HOST_OPTIONS.values()):
        yield from _kernels_option(option)
    yield from (*_hosted(), *_lab(), *_gateway())


def _kernels_option(option: Option) -> Iterator[str]:
    default = option.shown_default if option.default_text else f"`{option.shown_default}`"
    found = gateways_trait(option.name)
    gateway = "no option: the default holds" if option.name in OPTIONS else "not available"
    if found is not None:
        cls, name, trait = found
        gateway = _ways(f"--{cls}.{name}=…", trait.metadata.get("env"))
        theirs = trait_default(trait)
        if option.name in ("prewarm", "start_answer_s"):
            default += f"; at the gateway {theirs}"
    elif option.name == "class_options":
        gateway = "`--CLASS.NAME=…`"
    lab = _ways(f"--set kernels.{option.name}=…", OWN_OF_LAB.get(option.name, "") and f"{OWN_OF_LAB[option.name]} …")
    stock = JUPYTER_SERVERS_NAMES.get(option.name)
    if option.name in OWN_OPTIONS:
        stock = f"FpsMappingKernelManager.{option.name}"
    server = f"`--{stock}=…`" if stock else "no option"
    if option.name == "class_options":
        server = "`--CLASS.NAME=…`"
    rows = [("gateway", gateway), ("`lab`, jupyverse", lab), ("Jupyter Server", server)]
    yield from _entry(option.name, option.help, type_words(option.type), option.unit, default, rows)


def _hosted() -> Iterator[str]:
    yield from ("## Of a Jupyter Server only", "")
    option = HOSTED_OPTIONS[MESSAGE_OPTION.name]
    rows = [("Jupyter Server", f"`--FpsMappingKernelManager.{option.name}=…`")]
    yield from _entry(
        f"FpsMappingKernelManager.{option.name}",
        option.help,
        type_words(option.type),
        option.unit,
        f"`{option.shown_default}`",
        rows,
    )


def _lab() -> Iterator[str]:
    yield from ("## Of `fps-kernels lab`", "")
    yield from (
        "On the command line, or by the same names with `_` for `-` in a YAML file, which `--generate-config` writes "
        "with all defaults.",
        "",
    )
    for group in parser()._action_groups:
        actions = [one for one in group._group_actions if one.option_strings and one.option_strings[0] != "-h"]
        if not actions:
            continue
        yield from (f"### {(group.title or '').capitalize()}", "", "| option | what it does |", "| --- | --- |")
        yield from (f"| `{_word(one)}` | {_sentence(one)} |" for one in actions)
        yield ""


def _word(action: argparse.Action) -> str:
    long = [word for word in action.option_strings if word.startswith("--")]
    return f"{long[0]} {action.metavar}" if action.metavar else long[0]


def _sentence(action: argparse.Action) -> str:
    text = re.sub(
        r"%\(default\)[sg]",
        lambda _: f"`{action.default:g}`" if isinstance(action.default, float) else f"`{action.default}`",
        action.help or "",
    )
    return text.replace("|", "\\|")


def _gateway() -> Iterator[str]:
    yield from ("## Of the gateway", "")
    for cls in (KernelGatewayApp, *(cls for cls in CLASSES if cls.__name__ != "NotebookHTTPPersonality")):
        for base in cls.__mro__:
            if base.__module__.startswith("fps_kernels."):
                yield from _traits(base)
    yield from ("## Of notebook-http", "")
    yield from _traits(next(cls for cls in CLASSES if cls.__name__ == "NotebookHTTPPersonality"))


def _traits(cls: type) -> Iterator[str]:
    """The options of a class that are no options of kernels."""
    of_kernels = {(owner, name) for owner, name, _ in filter(None, map(gateways_trait, OPTIONS))}
    for name, trait in vars(cls).items():
        if not isinstance(trait, TraitType) or not trait.metadata.get("config") or name in WITHOUT_MEANING:
            continue
        # Two origins: the gateway's is also a header of its answers.
        if (cls.__name__, name) in of_kernels and not trait.metadata.get("cors_header"):
            continue
        variable = trait.metadata.get("env", "")
        text = trait.help.removesuffix(env_note(variable))
        rows = [("gateway", _ways(f"--{cls.__name__}.{name}=…", variable))]
        bounds = trait.metadata.get("bounds")
        words = trait_words(trait) + (_bounds_words(bounds) if bounds else "")
        yield from _entry(f"{cls.__name__}.{name}", text, words, "", trait_default(trait), rows)


def _entry(name: str, text: str, type: str, unit: str, default: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    """A heading, the meaning, and a table: the type and the default, then how each host is told."""
    anchor = name.replace(".", "-").lower()
    yield from (f"#### `{name}` {{ #{anchor} }}", "", text, "", "| | |", "| --- | --- |")
    yield f"| type | {type}{f', {unit}' if unit else ''} |"
    yield f"| default | {default} |"
    yield from (f"| {host} | {way} |" for host, way in rows)
    yield ""


def _ways(*words: str | None) -> str:
    return ", ".join(f"`{word}`" for word in words if word)


# --- what is known about an option ---------------------------------------------------------------


def gateways_trait(option: str) -> tuple[str, str, TraitType[Any, Any]] | None:
    """Class, name and trait of the gateway's option for one of kernels."""
    classes = {base.__name__: base for cls in (KernelGatewayApp, *CLASSES) for base in cls.__mro__}
    if option in GATEWAYS_NAMES:
        cls, name = GATEWAYS_NAMES[option]
        return cls, name, vars(classes[cls])[name]
    for cls, owner in classes.items():
        if issubclass(owner, Configurable):
            for name, trait in vars(owner).items():
                if isinstance(trait, TraitType) and trait.metadata.get("kernels_option") == option:
                    return cls, name, trait
    return None


def type_words(hint: Any) -> str:
    """A type, for people who do not know Python's."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in WORDS:
        return WORDS[hint]
    if origin is Annotated:
        return WORDS[arguments[0]] + "".join(map(_bounds_words, arguments[1:]))
    if origin is Literal:
        return "one of " + ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_words(one) for one in arguments if one is not NoneType)
    if origin is list:
        return "list"
    if origin is dict:
        return "mapping of names to whole numbers" if get_origin(arguments[1]) is Annotated else "mapping"
    return "class" if origin is type else "anything"


def _bounds_words(bounds: Bounds) -> str:
    above = f", above {bounds.gt:g}" if bounds.gt is not None else ""
    least = f", at least {bounds.ge:.15g}" if bounds.ge is not None else ""
    most = f", at most {bounds.le:.15g}" if bounds.le is not None else ""
    return above + least + most


def trait_words(trait: TraitType[Any, Any]) -> str:
    if isinstance(trait, CaselessStrEnum):
        return "one of " + ", ".join(f"`{one}`" for one in trait.values or ())
    kinds = {Bool: "`True` or `False`", Integer: "whole number", Float: "number", List: "list", Set: "set"}
    kinds[Dict] = "mapping"
    return next((words for kind, words in kinds.items() if isinstance(trait, kind)), "text")


def trait_default(trait: TraitType[Any, Any]) -> str:
    value = trait.default()
    if text := trait.metadata.get("default_text"):
        return str(text)
    if value is None or value == "" or (not isinstance(value, (bool, int, float)) and not value):
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
