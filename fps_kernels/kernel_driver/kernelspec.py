"""Find kernelspecs and describe them to clients.

jupyter_client finds them, or a class that is configured; here its answers become the models of the REST API. All of
this reads the disk, and the class may take any time: call it by way of `Kernelspecs.run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar
from urllib.parse import quote

from ..errors import (
    BadOption,
    FPSKernelsError,
    KernelspecNotFound,
    KernelspecsTimeout,
    KernelspecsUnavailable,
    NotFound,
    ServerStopping,
)
from ..tasks import TaskSet
from ..threads import DaemonThreads
from .spec_classes import SpecClasses

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

logger = logging.getLogger(__name__)

NATIVE_NAME = "python3"
"""The kernelspec of the Python that jupyter_client itself runs in."""
ALIASES = {"python": NATIVE_NAME}
"""Names that clients use for the native Python kernelspec, as jupyter_client reads them."""

TIMEOUT_S = 30.0
"""Seconds within which kernelspecs must have been found. What takes longer goes on, and may be ready the next time."""
CLASS_TIMEOUT_S = 60.0
"""Seconds within which a class that is configured must have been imported and made."""
T = TypeVar("T")

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
    classes: what finds them, and starts kernels.
    timeout_s: seconds within which they must have been found.
    manager: jupyter_client's manager of kernelspecs, if there is one already.
    """

    def __init__(
        self,
        default_name: str = "",
        base_url: str = "/",
        allowed: Collection[str] = (),
        classes: SpecClasses | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        manager: KernelSpecManager | None = None,
    ) -> None:
        self.classes = classes or SpecClasses()
        self._timeout_s = timeout_s
        # A class of others need not be safe with several threads.
        self._threads = DaemonThreads("kernelspecs", limit=8 if self.classes.is_stock else 1)
        self._calls = TaskSet()
        self._closed = False
        self._listing: asyncio.Task[KernelspecsModel] | None = None
        self._default_name = default_name
        self._allowed = {ALIASES.get(name, name).lower() for name in allowed}
        self._base_url = base_url
        self._manager = manager
        self._told: dict[str, str] = {}  # why kernelspecs are not listed

    @property
    def manager(self) -> KernelSpecManager:
        """jupyter_client's manager of kernelspecs."""
        if self._manager is None:
            # Importing jupyter_client takes 0.15 s: only when it is needed.
            self._manager = self.classes.make_manager(self._allowed)
        return self._manager

    async def open(self) -> None:
        """Import and make what is configured; nothing when it is jupyter_client's. Raises BadOption."""

        def make() -> None:
            self.classes.check()
            if not self.classes.is_stock:
                assert self.manager is not None

        if self.classes.is_default or self._manager is not None:
            return
        try:
            await self._threads.run(make, timeout_s=CLASS_TIMEOUT_S)
        except TimeoutError:
            raise BadOption(
                f"kernel_spec_manager_class={self.classes.name}: not ready within {CLASS_TIMEOUT_S:g} s"
            ) from None

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Return what `call(*args)` does with kernelspecs, without blocking the event loop.

        Raises what it raises, KernelspecsTimeout, and ServerStopping from `close` on.
        """
        if self._closed:
            raise ServerStopping
        calling = self._threads.run(call, *args, timeout_s=self._timeout_s)
        task = self._calls.start(calling, name="kernelspecs", log_failure=False)
        try:
            return await task
        except asyncio.CancelledError:
            if self._closed and task.cancelled():
                raise ServerStopping from None
            raise
        except TimeoutError:
            logger.warning("%s has not found the kernelspecs within %g s", self.classes.name, self._timeout_s)
            raise KernelspecsTimeout(f"The kernelspecs were not found within {self._timeout_s:g} s") from None

    async def close(self) -> None:
        """Wait for nothing any more. May be called twice."""
        self._closed = True
        await self._calls.close()

    async def find(self, name: str | None) -> KernelSpec:
        """See `get`."""
        return await self.run(self.get, name)

    async def list_all(self) -> KernelspecsModel:
        """See `list`. Requests that come while a class of others is still looking share what it finds."""
        if self.classes.is_stock:
            return await self.run(self.list)
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self.run(self.list), name="list kernelspecs")
            self._listing.add_done_callback(lambda task: task.cancelled() or task.exception())  # each waiter gets it
        return await asyncio.shield(self._listing)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the manager. Raises KernelspecsUnavailable for whatever it does wrong, which is logged."""
        try:
            yield
        except FPSKernelsError:
            raise
        except Exception as exc:
            logger.warning("%s cannot list kernelspecs: %s: %s", self.classes.name, type(exc).__name__, exc)
            raise KernelspecsUnavailable("The kernelspecs cannot be listed; the server's log says why") from exc

    def get(self, name: str | None) -> KernelSpec:
        """The kernelspec with this name, in any case; the default one for None or "".

        Raises KernelspecNotFound, also when the kernelspec cannot be read.
        """
        from jupyter_client.kernelspec import NoSuchKernel

        wanted = name or self.default()
        wanted = ALIASES.get(wanted, wanted)
        hidden = bool(self._allowed) and wanted.lower() not in self._allowed  # jupyter_client only does not list it
        if hidden or not (_USUAL_NAME.fullmatch(wanted) or wanted.lower() in map(str.lower, self._names())):
            raise KernelspecNotFound(wanted)
        try:
            spec = self.manager.get_kernel_spec(wanted)
            spec.name = wanted.lower() if self.classes.is_stock else wanted
        except NoSuchKernel as exc:
            raise KernelspecNotFound(wanted) from exc
        except Exception as exc:  # whatever a kernel.json may hold: jupyter_client does not say
            logger.warning("kernelspec %s cannot be read: %s: %s", wanted, type(exc).__name__, exc)
            raise KernelspecNotFound(wanted) from exc
        if problem := self._start_problem(spec.metadata, spec.argv):
            logger.warning("kernelspec %s cannot be started: %s", wanted, problem)
            raise KernelspecNotFound(wanted)
        # It would start what it does not list.
        native = wanted.lower() == NATIVE_NAME and not self.classes.ensure_native_kernel
        if native and NATIVE_NAME not in self._names():
            raise KernelspecNotFound(wanted)
        return spec

    def _names(self) -> Collection[str]:
        with self._asking():
            names = list(self.manager.find_kernel_specs())
            return [name for name in names if not self._allowed or name.lower() in self._allowed]

    def default(self) -> str:
        """The configured default kernel if it exists, else the native Python one, else the first."""
        names = self._names()
        configured = ALIASES.get(self._default_name, self._default_name)
        for name in (configured, configured.lower()):
            if name in names:
                return name
        if NATIVE_NAME in names or not names:
            return NATIVE_NAME
        return sorted(names)[0]

    def list(self) -> KernelspecsModel:
        """All kernelspecs that can be read, for `GET /api/kernelspecs`."""
        models: dict[str, KernelspecModel] = {}
        with self._asking():
            for name, found in sorted(self.manager.get_all_specs().items()):
                spec = found["spec"]
                if self._allowed and name.lower() not in self._allowed:
                    continue
                if problem := self._start_problem(spec["metadata"], spec["argv"]):
                    self._tell(name, problem)
                else:
                    models[name] = self._model(name, spec, Path(found["resource_dir"]))
            return {"default": self.default(), "kernelspecs": models}

    def _start_problem(self, metadata: Mapping[str, Any], argv: Collection[str]) -> str | None:
        """Why nothing can be started from a kernelspec, in words; None if that is not known."""
        return "its argv is missing or empty" if not argv and self.classes.is_local_by(metadata) else None

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


def spec_dict(spec: KernelSpec) -> dict[str, Any]:
    """The content of kernel.json and `resource_dir`: everything in a kernelspec that a launch depends on."""
    return {**spec.to_dict(), "resource_dir": spec.resource_dir}
