"""The file with the options of `fps-kernels lab`: read at the start, and written with all defaults on request."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_dir
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ....errors import BadOption
from ....serving.access.secret_file import write_private

CONFIG_FILE = "fps_kernels_lab.yaml"
"""The file that is read without being named, in Jupyter's folder for configuration."""
KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list of texts",
    str: "a text",
}
COMMAND_LINE_ONLY = ("path", "help", "help_options", "version", "config", "generate_config", "yes")


def default_config_file() -> Path:
    return Path(jupyter_config_dir()) / CONFIG_FILE


def read_config(path: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The values of a file, by their names in the namespace. Raises BadOption."""
    where = f"--config={path}"
    try:
        with open(path, encoding="utf-8") as file:
            values = YAML(typ="safe").load(file)
    except (OSError, ValueError) as exc:
        raise BadOption(f"{where}: {getattr(exc, 'strerror', None) or exc}") from exc
    except YAMLError as exc:
        raise BadOption(f"{where}: {exc}") from exc
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadOption(f"{where}: not a mapping of options to values")
    known = {name: action for action in _options(parser) for name in _names(action)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        action = known.get(str(name).replace("-", "_"))
        if action is None:
            raise BadOption(f"{where}: there is no option {name}")
        expected: type = action.type if action.type in (int, float) else type(action.default)
        if expected not in KINDS:
            expected = str
        is_right = type(value) is expected or (expected is float and type(value) is int)
        if isinstance(value, list):
            is_right = is_right and all(isinstance(one, str) for one in value)
        if not is_right:
            raise BadOption(f"{where}: {name} should be {KINDS[expected]}, not {value!r}")
        checked[action.dest] = value
    return checked


def write_default_config(parser: argparse.ArgumentParser, *, overwrite: bool) -> Path:
    """Write the file that is read by default, with all options commented out; returns its path. Raises BadOption."""
    path = default_config_file()
    if path.exists() and not overwrite:
        raise BadOption(f"--generate-config: {path} is there already; -y overwrites it")
    lines = ["# Options of `fps-kernels lab`. Those of the command line win."]
    for action in _options(parser):
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        lines += ["", *(f"# {line}" for line in textwrap.wrap(text, 100))]
        default = "" if action.default is None else str(action.default)
        lines.append(f"# {_names(action)[0]}: {default.lower() if isinstance(action.default, bool) else default}")
    try:
        write_private(path, ("\n".join(lines) + "\n").encode())
    except OSError as exc:
        raise BadOption(f"--generate-config: {path}: {exc.strerror}") from exc
    return path


def _options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those that may be in the file; not --no-browser and the like, which are opposites of others."""
    return (
        action
        for action in parser._actions
        if action.dest not in COMMAND_LINE_ONLY and not isinstance(action, argparse._StoreFalseAction)
    )


def _names(action: argparse.Action) -> list[str]:
    return [spelling.lstrip("-").replace("-", "_") for spelling in action.option_strings]
