"""The configuration of the kernels module: `--set kernels.NAME=VALUE`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from jupyverse_kernels import KernelsConfig as JupyverseKernelsConfig

from ...options import OPTIONS, KernelsOptions
from ..jupyverse.configuration import InvalidConfiguration, model_with_options, parse_configuration

WITHOUT_MEANING = ("kernelenv_path", "wait_for_kernelspec")
"""Options of Jupyverse's own kernels that ours do not have. They are in its model, which other plugins may ask for."""

if TYPE_CHECKING:

    class _Fields(JupyverseKernelsConfig):
        """The model with a field for each option, which type checkers cannot know."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _Fields = model_with_options(JupyverseKernelsConfig)


class ModuleConfig(_Fields):
    """All options of the module, as Jupyverse wants them: the kernels' and those of this host."""

    def options(self) -> KernelsOptions:
        return KernelsOptions(**{name: getattr(self, name) for name in OPTIONS})

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Raises InvalidConfiguration, in one line that names each option that is wrong.

        values: as FPS has them. Those of a command line are texts, in which lists, numbers and null are JSON.
        """
        for name in WITHOUT_MEANING:
            if values.get(name):
                raise InvalidConfiguration(f"kernels.{name}: this kernel server has no such option")
        return parse_configuration(cls, {name: _value(text) for name, text in values.items()})


def _value(text: Any) -> Any:
    """What a text of a command line stands for; itself if it is not JSON, as most names and paths."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
