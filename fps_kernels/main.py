"""The component under the name that entry points and users know."""

try:
    from .hosts.asphalt.component import KernelsComponent as KernelsComponent
except ModuleNotFoundError as exc:
    needed = f"The component kernels is not installed: install fps_kernels[jupyverse-asphalt] (there is no {exc.name})"
    raise ModuleNotFoundError(needed, name=exc.name) from exc
