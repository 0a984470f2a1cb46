"""The module under the name that entry points and users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hosts.fps.kernels_module import KernelsModule as KernelsModule
else:
    try:
        from .hosts.fps.kernels_module import KernelsModule as KernelsModule
    except ImportError as error:
        _NEEDED = (
            "The module kernels is not installed: install fps_kernels[jupyverse], without the Jupyverse on Asphalt "
            f"({error.msg})"
        )

        class KernelsModule:
            """What stands for the module where it lacks something: it ends the process with one line."""

            def __init__(self, name: str, **options: Any) -> None:
                raise SystemExit(_NEEDED)
