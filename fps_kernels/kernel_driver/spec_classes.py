"""Classes of others that find kernelspecs and start kernels: a manager of kernelspecs, and provisioners.

They are imported when a server starts, and make it end with one line if that fails. What they do is not ours: it may
raise anything, and take any time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Self

from ..errors import BadOption
from ..options import KernelsOptions

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from traitlets.config import Config

logger = logging.getLogger(__name__)

LOCAL_PROVISIONER = "local-provisioner"
PROVISIONER_GROUP = "jupyter_client.kernel_provisioners"
PROVISIONER_VARIABLE = "JUPYTER_DEFAULT_PROVISIONER_NAME"
STOCK_MANAGER = "jupyter_client.kernelspec.KernelSpecManager"

MANAGER_SECTIONS = frozenset({"KernelManager", "AsyncKernelManager", "ConnectionFileMixin", "Session", "Application"})
"""Sections of configurations that would change how we talk to kernels, and are for options of our own to say."""


@dataclass(frozen=True, slots=True)
class SpecClasses:
    """Which classes find kernelspecs and start kernels.

    manager: the class of the manager of kernelspecs, or where it is found, as in `package.module.Class`; "" for
      jupyter_client's.
    ensure_native_kernel: whether there is a kernelspec of this Python where none is installed.
    default_provisioner: the name of the provisioner of kernelspecs that name none; "" for the one that
      JUPYTER_DEFAULT_PROVISIONER_NAME names, or else the local one.
    config: the options of all these classes, by the names of the classes.
    """

    manager: str | type[Any] = ""
    ensure_native_kernel: bool = True
    default_provisioner: str = ""
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, options: KernelsOptions) -> Self:
        return cls(
            options.kernel_spec_manager_class,
            options.ensure_native_kernel,
            options.default_provisioner_name,
            options.class_options,
        )

    @property
    def is_stock(self) -> bool:
        """Whether jupyter_client's own manager finds the kernelspecs."""
        return not self.manager or self.name in (STOCK_MANAGER, "jupyter_client.KernelSpecManager")

    @property
    def is_default(self) -> bool:
        """Whether nothing of others is configured for all kernelspecs, so that there is nothing to be checked."""
        return self.is_stock and self.provisioner == LOCAL_PROVISIONER

    @property
    def provisioner(self) -> str:
        """The name of the provisioner of kernelspecs that name none."""
        return self.default_provisioner or os.environ.get(PROVISIONER_VARIABLE) or LOCAL_PROVISIONER

    @property
    def name(self) -> str:
        """Where the class of the manager is found."""
        if not self.manager:
            return STOCK_MANAGER
        if isinstance(self.manager, str):
            return self.manager
        return f"{self.manager.__module__}.{self.manager.__qualname__}"

    def manager_class(self) -> type[KernelSpecManager]:
        """Import the class of the manager. Raises BadOption."""
        from jupyter_client.kernelspec import KernelSpecManager
        from traitlets import import_item

        found: Any = self.manager or KernelSpecManager
        option = f"kernel_spec_manager_class={self.name}"
        if isinstance(found, str):
            try:
                found = import_item(found)
            except (Exception, SystemExit) as exc:  # a module may raise anything
                raise BadOption(f"{option}: cannot be imported: {_described(exc)}") from exc
        if not (isinstance(found, type) and issubclass(found, KernelSpecManager)):
            raise BadOption(f"{option}: not a class derived from jupyter_client.kernelspec.KernelSpecManager")
        return found

    def make_manager(self, allowed: Iterable[str]) -> KernelSpecManager:
        """Make the manager of kernelspecs. Raises BadOption."""
        from jupyter_client.provisioning.factory import KernelProvisionerFactory
        from jupyter_core.paths import jupyter_path

        cls: type[KernelSpecManager]
        cls, spec_class = self.manager_class(), None
        if self.is_stock:
            from .spec_reader import FoundKernelspec, FoundKernelspecs

            cls, spec_class = FoundKernelspecs, FoundKernelspec
        factory = KernelProvisionerFactory.instance()
        factory.default_provisioner_name = self.provisioner
        factory.provisioners.update({one.name: one for one in provisioners()})  # it is made once for a process
        # A class of others need not heed what is allowed, and it may know names in capital letters.
        keywords: dict[str, Any] = {"allowed_kernelspecs": set(allowed) if self.is_stock else set()}
        if not self.ensure_native_kernel:
            keywords["ensure_native_kernel"] = False
        if spec_class is not None:
            keywords["kernel_spec_class"] = spec_class
            # Its own default imports IPython, 3 MiB, only to find the last of these folders.
            ipython = os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
            keywords["kernel_dirs"] = [*jupyter_path("kernels"), os.path.join(ipython, "kernels")]
        try:
            # What is allowed and whether there is a native kernelspec are options of ours.
            manager = cls(config=self._traitlets_config(["KernelSpecManager"]), **keywords)
        except (Exception, SystemExit) as exc:  # a class may raise anything
            raise BadOption(f"kernel_spec_manager_class={self.name}: cannot be made: {_described(exc)}") from exc
        manager.log = logger  # a broken kernel.json is skipped there, with a warning
        return manager

    def check_within(self, timeout_s: float) -> None:
        """The same as `check`, and blocks no longer than this. Raises BadOption."""
        problems: list[BadOption] = []

        def check() -> None:
            try:
                self.check()
            except BadOption as exc:
                problems.append(exc)

        if self.is_default:
            return
        thread = threading.Thread(target=check, name="kernelspecs", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():
            raise BadOption(f"kernel_spec_manager_class={self.name}: not ready within {timeout_s:g} s")
        for problem in problems:
            raise problem

    def check(self) -> None:
        """Import and make what is configured; nothing if there is nothing. May take long. Raises BadOption."""
        known = {one.name for one in provisioners()} if self.provisioner != LOCAL_PROVISIONER else {LOCAL_PROVISIONER}
        if self.provisioner not in known:
            option = "default_provisioner_name" if self.default_provisioner else PROVISIONER_VARIABLE
            raise BadOption(
                f"{option}={self.provisioner}: there is no such provisioner; installed are {', '.join(sorted(known))}"
            )
        if not self.is_stock:
            self.make_manager(())

    def provisioner_config(self) -> Config:
        """The options of provisioners, for the manager of a kernel, whose children they are."""
        return self._traitlets_config(MANAGER_SECTIONS)

    def _traitlets_config(self, without: Iterable[str] = ()) -> Config:
        from traitlets.config import Config

        return Config({name: dict(section) for name, section in self.config.items() if name not in without})

    def is_local(self, spec: KernelSpec) -> bool:
        """Whether a kernelspec's provisioner is jupyter_client's own, which starts processes of this machine."""
        return self.is_local_by(spec.metadata)

    def is_local_by(self, metadata: Mapping[str, Any]) -> bool:
        """The same, by the kernelspec's metadata."""
        configured = metadata.get("kernel_provisioner")
        name = configured.get("provisioner_name") if isinstance(configured, dict) else None
        return (name or self.provisioner) == LOCAL_PROVISIONER


def provisioners() -> tuple[EntryPoint, ...]:
    """The provisioners that are installed."""
    return tuple(entry_points(group=PROVISIONER_GROUP))


def configurable_names(classes: SpecClasses, sections: Collection[str]) -> set[str]:
    """The names of all classes whose options may be in `config`, as far as that has to be known.

    sections: the names in question. Provisioners are imported only if there are some; one that cannot be is left out.
    """
    found: list[type] = [] if classes.is_stock else [classes.manager_class()]
    names = {base.__name__ for cls in found for base in cls.__mro__}
    for one in () if names.issuperset(sections) else provisioners():
        try:
            found.append(one.load())
        except Exception as exc:  # a module may raise anything; a kernel that needs it will say so
            logger.debug("the provisioner %s cannot be imported: %r", one.name, exc)
    return names | {base.__name__ for cls in found for base in getattr(cls, "__mro__", ())}


def _described(exc: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split()).removesuffix(":")
