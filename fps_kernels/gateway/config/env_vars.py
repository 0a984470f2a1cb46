"""Options from environment variables: KG_NAME, as the original gateway reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import BadOption


def from_environment(
    name: str, parse: Callable[[str], Any], default: Any, environ: Mapping[str, str] = os.environ
) -> Any:
    """The value of a variable. Raises BadOption."""
    text = environ.get(name)
    if text is None:
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
    """True for "true" only, in any case, as the original."""
    return text.lower() == "true"


def names(text: str) -> list[str]:
    """Separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def counts(text: str) -> dict[str, int]:
    """name=number, separated by commas."""
    pairs = [name.partition("=") for name in names(text)]
    return {name: integer(number) for name, _, number in pairs}
