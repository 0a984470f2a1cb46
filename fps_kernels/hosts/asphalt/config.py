"""The configuration of the kernels component: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig
from pydantic import Field, ValidationError, create_model

from ...errors import FPSKernelsError
from ...options import OPTIONS, KernelsOptions, Option

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
"""The options that Jupyverse's own configuration has, too, and that only this host needs."""


class InvalidConfiguration(FPSKernelsError):
    """A value of the configuration is wrong; the message names it, in one line."""


if TYPE_CHECKING:

    class _Fields(JupyverseKernelsConfig):
        """The model with a field for each option, which type checkers cannot know."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _Fields = create_model(
        "_Fields",
        __base__=JupyverseKernelsConfig,
        **{
            option.name: (option.type, Field(default=option.default, description=option.help))
            for option in (*OPTIONS.values(), *HOST_OPTIONS.values())
        },
    )


class KernelsConfig(_Fields):
    """All options of the component, as Jupyverse wants them: the kernels' and those of this host."""

    if TYPE_CHECKING:

        def __init__(self, **options: Any) -> None: ...

    def options(self) -> KernelsOptions:
        return KernelsOptions(**{name: getattr(self, name) for name in OPTIONS})

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Raises InvalidConfiguration, in one line that names each option that is wrong."""
        try:
            return cls(**values)
        except ValidationError as exc:
            raise InvalidConfiguration("; ".join(map(_describe, exc.errors()))) from exc


def _describe(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"kernels.{name}: there is no such option"
    return f"kernels.{name}: {error['msg']}, not {error['input']!r}"
