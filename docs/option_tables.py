"""Writes the tables of options in README.md and some pages of docs, between their markers.

Run it after a change to an option: `python docs/option_tables.py`. A test holds that the tables are up to date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from traitlets import TraitType

from fps_kernels.gateway.config.env_vars import env_note
from fps_kernels.gateway.config.gateway_options import KernelGatewayApp
from fps_kernels.gateway.config.traits import CLASSES, WITHOUT_MEANING
from fps_kernels.hosts.jupyter_server.hosted_options import HOSTED_OPTIONS
from fps_kernels.hosts.jupyverse.configuration import HOST_OPTIONS
from fps_kernels.options import OPTIONS, Option

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "README.md", ROOT / "docs" / "gateway.md", ROOT / "docs" / "jupyter-server.md")
MARKED = re.compile(r"(<!-- options: (?P<name>\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)


def kernels_table() -> Iterator[str]:
    """The options of the kernels component."""
    yield from header("name", "default", "unit", "what it does")
    yield from map(option_row, (*OPTIONS.values(), *HOST_OPTIONS.values()))


def application_table() -> Iterator[str]:
    """The options of the gateway's application."""
    yield from header("name", "environment", "default", "what it does")
    for name, trait in options_of(KernelGatewayApp):
        if name not in WITHOUT_MEANING:
            yield trait_row(name, trait)


def classes_table() -> Iterator[str]:
    """The options of Kernel Gateway's other classes, each by the class that it belongs to."""
    yield from header("name", "environment", "default", "what it does")
    for cls in CLASSES:
        for base in cls.__mro__:
            for name, trait in options_of(base):
                yield trait_row(f"{base.__name__}.{name}", trait)


def hosted_table() -> Iterator[str]:
    """The options that kernels of a Jupyter Server have besides those of its own."""
    yield from header("name", "default", "unit", "what it does")
    yield from map(option_row, HOSTED_OPTIONS.values())


def options_of(cls: type) -> list[tuple[str, TraitType[Any, Any]]]:
    """A class's own options, in the order of its definition."""
    traits = [(name, trait) for name, trait in vars(cls).items() if isinstance(trait, TraitType)]
    return [(name, trait) for name, trait in traits if trait.metadata.get("config")]


def option_row(option: Option) -> str:
    default = option.shown_default if option.default_text else f"`{option.shown_default}`"
    return row(f"`{option.name}`", default, option.unit, option.help)


def trait_row(name: str, trait: TraitType[Any, Any]) -> str:
    variable = trait.metadata.get("env", "")
    default = trait.metadata.get("default_text") or trait_default(trait.default())
    text = trait.help.removesuffix(env_note(variable))
    return row(f"`{name}`", f"`{variable}`" if variable else "", default, text)


def trait_default(value: Any) -> str:
    """A default as it would stand in a configuration file; nothing for an empty string."""
    if value == "":
        return ""
    if value is None or value == [] or value == {}:
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def header(*titles: str) -> Iterator[str]:
    yield row(*titles)
    yield row(*("---" for _ in titles))


def row(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "kernels": kernels_table,
    "application": application_table,
    "classes": classes_table,
    "hosted": hosted_table,
}


def render(text: str) -> str:
    """A document with its tables as they should be."""

    def table(found: re.Match[str]) -> str:
        lines = "\n".join(TABLES[found["name"]]())
        return f"{found[1]}\n{lines}\n\n{found[3]}"

    return MARKED.sub(table, text)


def main() -> None:
    for path in FILES:
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    main()
