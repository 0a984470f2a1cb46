"""The configuration of kernels under Jupyverse: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, create_model

from ...errors import FPSKernelsError
from ...options import OPTIONS, Option

HOST_OPTIONS = MappingProxyType(
    {
        option.name: option
        for option in (
            Option(
                "allow_external_kernels",
                bool,
                False,
                "Whether to watch a folder for connection files of kernels that were started elsewhere.",
            ),
            Option(
                "external_connection_dir",
                str | None,
                None,
                "Folder to watch for connection files of external kernels. It and its files must be writable for you "
                "only.",
                default_text="`external_kernels` in Jupyter's runtime folder",
            ),
            Option(
                "require_yjs",
                bool,
                False,
                "Whether to wait for Jupyverse's plugin for shared documents, which cells that the server runs need.",
            ),
        )
    }
)
"""The options that Jupyverse's own configuration has, too, and that only Jupyverse needs."""


class InvalidConfiguration(FPSKernelsError):
    """A value of the configuration is wrong; the message names it, in one line."""


Model = TypeVar("Model", bound=BaseModel)


def model_with_options(base: type[BaseModel]) -> Any:
    """A model with a field for each option. base: the configuration that a generation of Jupyverse has."""
    options = (*OPTIONS.values(), *HOST_OPTIONS.values())
    fields: dict[str, Any] = {
        option.name: (option.type, Field(default=option.default, description=option.help)) for option in options
    }
    return create_model("_Fields", __base__=base, **fields)


def parse_configuration(model: type[Model], values: dict[str, Any]) -> Model:
    """Raises InvalidConfiguration, in one line that names each option that is wrong."""
    try:
        return model(**values)
    except ValidationError as exc:
        raise InvalidConfiguration("; ".join(map(_describe, exc.errors()))) from exc


def _describe(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"kernels.{name}: there is no such option"
    return f"kernels.{name}: {error['msg']}, not {error['input']!r}"
