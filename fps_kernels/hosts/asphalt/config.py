"""The configuration of the kernels component: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from jupyverse_api.kernels import KernelsConfig as JupyverseKernelsConfig

from ...options import OPTIONS, KernelsOptions
from ..jupyverse.configuration import model_with_options, parse_configuration

if TYPE_CHECKING:

    class _Fields(JupyverseKernelsConfig):
        """The model with a field for each option, which type checkers cannot know."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _Fields = model_with_options(JupyverseKernelsConfig)


class KernelsConfig(_Fields):
    """All options of the component, as Jupyverse wants them: the kernels' and those of this host."""

    if TYPE_CHECKING:

        def __init__(self, **options: Any) -> None: ...

    def options(self) -> KernelsOptions:
        return KernelsOptions(**{name: getattr(self, name) for name in OPTIONS})

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Raises InvalidConfiguration, in one line that names each option that is wrong."""
        return parse_configuration(cls, values)
