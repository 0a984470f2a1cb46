"""The options of `fps-kernels lab`: its command line, and a file with the same names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ....errors import BadOption
from ....options import Bounds
from ....serving.serving_limits import MESSAGE_BOUNDS, ServingLimits
from .lab_config_file import default_config_file, read_config, write_default_config
from .lab_parser import parser


def read_options(argv: Sequence[str], defaults: Mapping[str, Any] = MappingProxyType({})) -> argparse.Namespace:
    """The options of the command line and, for those that it does not give, of a file.

    defaults: the values of options that neither gives, where they differ from what the help says.
    Raises BadOption for what is wrong in the file; argparse ends the program for what is wrong on the command line.
    """
    options = parser()
    options.set_defaults(**defaults)
    first = options.parse_args(argv)
    if first.generate_config:
        print(f"Written: {write_default_config(options, overwrite=first.yes)}")
        options.exit()
    path = first.config or (str(file) if (file := default_config_file()).is_file() else None)
    if path is not None:
        options.set_defaults(**read_config(path, options))
    found = options.parse_args(argv)
    if (problem := Bounds(ge=0, le=65_535).violation(found.port)) is not None:
        raise BadOption(f"--port={found.port}: {problem}")
    return found


def serving_limits(options: argparse.Namespace) -> ServingLimits:
    """The bounds of the server. Raises BadOption."""
    bounds = {
        "shutdown_no_activity_timeout_s": Bounds(ge=0),
        "max_connections": Bounds(ge=1),
        "keep_alive_s": Bounds(gt=0),
        "head_timeout_s": Bounds(gt=0),
        "ws_max_message_bytes": MESSAGE_BOUNDS,
    }
    for name, bound in bounds.items():
        value = getattr(options, name)
        if value is not None and (problem := bound.violation_if_finite(value)) is not None:
            raise BadOption(f"--{name.replace('_', '-')}={value}: {problem}")
    return ServingLimits(
        max_connections=options.max_connections,
        keep_alive_s=options.keep_alive_s,
        head_timeout_s=options.head_timeout_s,
        max_message_bytes=options.ws_max_message_bytes,
    )
