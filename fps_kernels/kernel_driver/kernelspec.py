"""Find kernelspecs and describe them to clients.

jupyter_client finds them; here its answers become the models of the REST API. All of this reads the disk: call it in a
thread.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from ..errors import KernelspecNotFound, NotFound

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

logger = logging.getLogger(__name__)

NATIVE_NAME = "python3"
"""The kernelspec of the Python that jupyter_client itself runs in."""
ALIASES = {"python": NATIVE_NAME}
"""Names that clients use for the native Python kernelspec, as jupyter_client reads them."""

LOCAL_PROVISIONER = "local-provisioner"

_USUAL_NAME = re.compile(r"[a-z0-9._-]{1,255}", re.IGNORECASE | re.ASCII)
"""What jupyter_client wants names to be; a folder may be called anything else."""


class KernelspecModel(TypedDict):
    """A kernelspec as the REST API shows it. resources: the URLs of its logos and scripts."""

    name: str
    spec: dict[str, Any]
    resources: dict[str, str]


class KernelspecsModel(TypedDict):
    """All kernelspecs as the REST API shows them."""

    default: str
    kernelspecs: dict[str, KernelspecModel]


class Kernelspecs:
    """The kernelspecs of this machine.

    default_name: the name of the configured default kernel, used if it exists.
    base_url: the prefix of the resources' URLs; begins and ends with a slash.
    allowed: the names, in any case, of the kernelspecs that may be used; empty for all.
    """

    def __init__(self, default_name: str = "", base_url: str = "/", allowed: Collection[str] = ()) -> None:
        self._default_name = default_name
        self._allowed = {ALIASES.get(name, name).lower() for name in allowed}
        self._base_url = base_url
        self._manager: KernelSpecManager | None = None
        self._told: dict[str, str] = {}  # why kernelspecs are not listed

    @property
    def manager(self) -> KernelSpecManager:
        """jupyter_client's manager of kernelspecs."""
        if self._manager is None:
            # Importing jupyter_client takes 0.15 s: only when it is needed.
            from jupyter_core.paths import jupyter_path

            from .spec_reader import FoundKernelspec, FoundKernelspecs

            # Its own default imports IPython, 3 MiB, only to find the last of these folders.
            ipython = os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
            folders = [*jupyter_path("kernels"), os.path.join(ipython, "kernels")]
            self._manager = FoundKernelspecs(
                kernel_dirs=folders, allowed_kernelspecs=self._allowed, kernel_spec_class=FoundKernelspec
            )
            self._manager.log = logger
        return self._manager

    def get(self, name: str | None) -> KernelSpec:
        """The kernelspec with this name, in any case; the default one for None or "".

        Raises KernelspecNotFound, also when the kernelspec cannot be read.
        """
        from jupyter_client.kernelspec import NoSuchKernel

        wanted = name or self.default()
        wanted = ALIASES.get(wanted, wanted)
        hidden = bool(self._allowed) and wanted.lower() not in self._allowed  # jupyter_client only does not list it
        if hidden or not (_USUAL_NAME.fullmatch(wanted) or wanted.lower() in self.manager.find_kernel_specs()):
            raise KernelspecNotFound(wanted)
        try:
            spec = self.manager.get_kernel_spec(wanted)
        except NoSuchKernel as exc:
            raise KernelspecNotFound(wanted) from exc
        except Exception as exc:  # whatever a kernel.json may hold: jupyter_client does not say
            logger.warning("kernelspec %s cannot be read: %s", wanted, exc)
            raise KernelspecNotFound(wanted) from exc
        if problem := _start_problem(spec.to_dict()):
            logger.warning("kernelspec %s cannot be started: %s", wanted, problem)
            raise KernelspecNotFound(wanted)
        spec.name = wanted.lower()
        return spec

    def default(self) -> str:
        """The configured default kernel if it exists, else the native Python one, else the first."""
        names = self.manager.find_kernel_specs()
        configured = ALIASES.get(self._default_name, self._default_name).lower()
        if configured in names:
            return configured
        if NATIVE_NAME in names or not names:
            return NATIVE_NAME
        return sorted(names)[0]

    def list(self) -> KernelspecsModel:
        """All kernelspecs that can be read, for `GET /api/kernelspecs`."""
        models = {}
        for name, found in sorted(self.manager.get_all_specs().items()):
            spec = found["spec"]
            if problem := _start_problem(spec):
                self._tell(name, problem)
            else:
                models[name] = self._model(name, spec, Path(found["resource_dir"]))
        return {"default": self.default(), "kernelspecs": models}

    def _tell(self, name: str, problem: str) -> None:
        """Say, once, why a kernelspec is not listed."""
        if self._told.get(name) != problem:
            self._told[name] = problem
            logger.warning("the kernelspec %s is not listed, because it cannot be started: %s", name, problem)

    def model(self, name: str) -> KernelspecModel:
        """One kernelspec, for `GET /api/kernelspecs/{name}`. Raises KernelspecNotFound."""
        spec = self.get(name)
        return self._model(spec.name, spec.to_dict(), Path(spec.resource_dir))

    def resource(self, name: str, file: str) -> Path:
        """The path of a file in a kernelspec's folder or below it.

        Raises NotFound when it does not exist, is not a regular file, or lies outside of the folder.
        """
        folder = Path(self.get(name).resource_dir)
        missing = NotFound(f"Kernelspec resource not found: {name}/{file}")
        if not file or "\0" in file or "\\" in file or file.startswith("/") or ".." in file.split("/"):
            raise missing
        path = folder / file
        try:
            real = path.resolve(strict=True)
            # A kernelspec may itself be a link, or lie in a folder of links: compare what is real.
            inside = real.is_relative_to(folder.resolve(strict=True))
        except (OSError, RuntimeError, ValueError) as exc:
            raise missing from exc
        if not inside or not real.is_file() or not os.access(real, os.R_OK):
            raise missing
        return real

    def _model(self, name: str, spec: dict[str, Any], folder: Path) -> KernelspecModel:
        from .spec_reader import NAMEABLE

        url = f"{self._base_url}kernelspecs/{quote(name)}/"
        resources = {}
        try:
            files = sorted(name for name in os.listdir(folder) if os.path.isfile(folder / name))
        except OSError:
            files = []
        for file in files:
            if not NAMEABLE.fullmatch(file) or not os.access(folder / file, os.R_OK):
                continue
            if file in ("kernel.js", "kernel.css"):
                resources[file] = url + file
            elif file.startswith("logo-"):
                resources[os.path.splitext(file)[0]] = url + quote(file)
        return {"name": name, "spec": spec, "resources": resources}


def is_local(spec: KernelSpec) -> bool:
    """Whether the kernelspec's provisioner is jupyter_client's own, which starts processes of this machine."""
    return _is_local(spec.metadata)


def _is_local(metadata: Mapping[str, Any]) -> bool:
    default = os.environ.get("JUPYTER_DEFAULT_PROVISIONER_NAME", LOCAL_PROVISIONER)
    configured = metadata.get("kernel_provisioner")
    name = configured.get("provisioner_name") if isinstance(configured, dict) else None
    return (name or default) == LOCAL_PROVISIONER


def _start_problem(spec: Mapping[str, Any]) -> str | None:
    """Why nothing can be started from a kernelspec, in words; None if that is not known."""
    if not spec["argv"] and _is_local(spec["metadata"]):
        return "its argv is missing or empty"
    return None


def spec_dict(spec: KernelSpec) -> dict[str, Any]:
    """The content of kernel.json and `resource_dir`: everything in a kernelspec that a launch depends on."""
    return {**spec.to_dict(), "resource_dir": spec.resource_dir}
