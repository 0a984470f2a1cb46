"""The words that `fps-kernels` and its commands take, and what may follow each of them. Pure.

A parser of argparse says it all; a value is told by what the help calls it: FILE, FOLDER, NOTEBOOK and the like.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a value is, as far as a shell can complete it."""

    TEXT = "text"
    FILE = "file"
    FOLDER = "folder"
    NOTEBOOK = "notebook"
    KERNEL = "kernel"


KINDS = {
    "FILE": Kind.FILE,
    "FOLDER": Kind.FOLDER,
    "NOTEBOOK": Kind.NOTEBOOK,
    "PATH": Kind.FILE,
    "KERNELSPEC": Kind.KERNEL,
}


@dataclass(frozen=True, slots=True)
class ShellOption:
    """An option.

    words: its spellings, such as -o and --output.
    values: how many values follow it; 0 for a flag.
    value_name: what the help calls the first one.
    choices: the values that there are, if these are few.
    repeats: whether it may be given more than once.
    """

    words: tuple[str, ...]
    help: str
    values: int = 0
    value_name: str = ""
    kind: Kind = Kind.TEXT
    choices: tuple[str, ...] = ()
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """A command: its options, and what its other words are.

    name: "" for the gateway, which needs none.
    """

    name: str
    help: str
    options: tuple[ShellOption, ...]
    kind: Kind = Kind.TEXT
    choices: tuple[str, ...] = ()


def command_of(name: str, help: str, parser: argparse.ArgumentParser) -> ShellCommand:
    """A command by its parser."""
    options = []
    kind = Kind.TEXT
    choices: tuple[str, ...] = ()
    for action in parser._actions:
        names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or "",)
        found = Kind.KERNEL if "--kernel" in action.option_strings else KINDS.get(names[0] or "", Kind.TEXT)
        listed = tuple(map(str, action.choices or ()))
        if not action.option_strings:
            kind, choices = found, listed
            continue
        values = action.nargs if isinstance(action.nargs, int) else 1
        shown = argparse.HelpFormatter("")._expand_help(action) if action.help else ""
        options.append(
            ShellOption(
                tuple(action.option_strings),
                " ".join(shown.split()),
                values,
                (names[0] or action.dest.upper()) if values else "",
                found,
                listed,
                repeats=isinstance(action, argparse._AppendAction) or values > 1,
            )
        )
    return ShellCommand(name, help, tuple(options), kind, choices)


def gateway_command(
    options: Iterable[tuple[str, str, str]], flags: Mapping[str, str], traits: Mapping[str, str]
) -> ShellCommand:
    """The gateway itself, whose options are traitlets'.

    options: names, help, and what the help calls the value. flags: names and help.
    traits: the names of options of classes, such as KernelGatewayApp.ip, and their help.
    """
    found = [
        ShellOption(
            (f"--{name}",), text, 1, value, Kind.NOTEBOOK if value == "NOTEBOOK" else KINDS.get(value, Kind.TEXT)
        )
        for name, text, value in options
    ]
    found += [ShellOption((f"--{name}" if len(name) > 1 else f"-{name}",), text) for name, text in flags.items()]
    found += [ShellOption((f"--{name}",), text, 1, "VALUE") for name, text in traits.items()]
    return ShellCommand("", "", tuple(found))
