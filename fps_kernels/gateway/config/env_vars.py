"""Environment variables as defaults of options: KG_NAME, read as the original gateway reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from traitlets import BaseDescriptor, Bool, Dict, Enum, Float, HasTraits, Integer, List, TraitType, Unicode

from ...errors import BadOption
from ...serving.service_variables import is_of_service


class EnvironmentDefaults(BaseDescriptor):
    """Lets environment variables be the defaults of a class's options, as an attribute of the class.

    The variable of an option is its tag `env`. The help names it, next to the default that holds without it.
    """

    def class_init(self, cls: type[HasTraits], name: str | None) -> None:
        super().class_init(cls, name)
        for option, trait in list(vars(cls).items()):
            variable = trait.metadata.get("env") if isinstance(trait, TraitType) else None
            if variable is not None:
                trait.help += env_note(variable)
                setattr(cls, f"_{option}_default", _default(trait, variable))  # where traitlets looks for it


def env_note(variable: str) -> str:
    """What the help of an option says about its variable."""
    return f" ({variable} env var)"


def _default(trait: TraitType[Any, Any], variable: str) -> Callable[[HasTraits], Any]:
    parse: Callable[[str], Any]
    if isinstance(trait, Enum):
        parse = partial(one_of, trait.values or ())
    else:
        parse = next(parse for kind, parse in PARSERS if isinstance(trait, kind))

    def default(owner: HasTraits) -> Any:
        return from_environment(variable, parse, trait.default(owner))

    return default


def from_environment(
    name: str, parse: Callable[[str], Any], default: Any, environ: Mapping[str, str] = os.environ
) -> Any:
    """The value of a variable; the default if it is empty, or not the user's. Raises BadOption."""
    text = environ.get(name)
    if not text or is_of_service(name, text):
        return default
    try:
        return parse(text)
    except ValueError as exc:
        raise BadOption(f"{name}={text!r}: {exc}") from exc


def integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("not a whole number") from None


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("not a number") from None


def boolean(text: str) -> bool:
    """True for "true" only, in any case, as in the original."""
    return text.lower() == "true"


def one_of(values: Iterable[str], text: str) -> str:
    """The value that a text names, in any case."""
    for value in values:
        if text.lower() == value.lower():
            return value
    raise ValueError(f"not one of {', '.join(values)}")


def names(text: str) -> list[str]:
    """Names, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def counts(text: str) -> dict[str, int]:
    """Pairs `name=number`, separated by commas."""
    pairs = [name.partition("=") for name in names(text)]
    return {name: integer(number) for name, _, number in pairs}


PARSERS: tuple[tuple[type[Any], Callable[[str], Any]], ...] = (
    (Integer, integer),
    (Float, number),
    (Bool, boolean),
    (List, names),
    (Dict, counts),
    (Unicode, str),
)
"""How the text of a variable is read, by the type of the option."""
