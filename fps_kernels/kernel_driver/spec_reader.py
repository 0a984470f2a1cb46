"""Kernelspecs as they are found on disk: jupyter_client's manager, which fails on none of them and hides none.

Kernelspecs are written by hand, by installers and by editors of all systems. One that cannot be read is left out with a
warning, and what is odd but clear is taken for what is meant: a byte order mark, other encodings of Unicode, `null` for
a field that is not there, numbers among the arguments and variables.
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any, Self

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager, NoSuchKernel

from ..json_model import finite

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 1024 * 1024
"""The largest kernel.json that is read; they have some hundred bytes."""

NAMEABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
"""Names of files that can stand in a URL and in a list: what is not UTF-8 comes from the disk as surrogates."""


class UnfitKernelspec(ValueError):
    """A kernel.json that nothing can be started from; the message says why."""


class FoundKernelspec(KernelSpec):
    """A kernelspec that was read from a kernel.json as it may be found."""

    @classmethod
    def from_resource_dir(cls, resource_dir: str) -> Self:
        """Raises OSError, ValueError, TraitError."""
        with open(os.path.join(resource_dir, "kernel.json"), "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UnfitKernelspec(f"kernel.json is larger than {MAX_FILE_BYTES} bytes")
        found = json.loads(data)
        if not isinstance(found, dict):
            raise UnfitKernelspec("kernel.json is not a JSON object")
        fields = {name: finite(value) for name, value in found.items() if value is not None}
        for name in ("name", "resource_dir"):  # what these are is said by the folder
            fields.pop(name, None)
        argv, env = fields.get("argv", []), fields.get("env")
        if not isinstance(argv, list):  # traitlets would take a string for a list of its letters
            raise UnfitKernelspec("argv in kernel.json is not a list")
        fields["argv"] = [_text(value, "an argument") for value in argv]
        if isinstance(env, dict):
            fields["env"] = {name: _text(value, f"the variable {name}") for name, value in env.items()}
        known = cls.class_trait_names()
        return cls(resource_dir=resource_dir, **{name: value for name, value in fields.items() if name in known})


def _text(value: Any, what: str) -> str:
    """A value of an argument or a variable: numbers are written as in JSON. Raises UnfitKernelspec."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise UnfitKernelspec(f"{what} in kernel.json is neither a string nor a number")
    if "\0" in value:
        raise UnfitKernelspec(f"{what} in kernel.json has a NUL")
    return value


class FoundKernelspecs(KernelSpecManager):
    """The kernelspecs in the folders of this machine, of which none hides another.

    Of two folders whose names differ only in case, one is meant wherever the name is used: the first in alphabetical
    order. jupyter_client lists one of them and starts the other.
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._told: dict[str, str] = {}  # what was said of each folder

    def find_kernel_specs(self) -> dict[str, str]:
        """The folder of each kernelspec, by its name in lower case."""
        found: dict[str, str] = {}
        for folder in self.kernel_dirs:
            for name in self._names_in(folder):
                path = os.path.join(folder, name)
                if os.path.isfile(os.path.join(path, "kernel.json")):
                    found.setdefault(name.lower(), path)
        if self.ensure_native_kernel and NATIVE_KERNEL_NAME not in found:
            try:
                from ipykernel.kernelspec import RESOURCES
            except ImportError:
                logger.debug("ipykernel is not installed: it has no kernelspec")
            else:
                found[NATIVE_KERNEL_NAME] = RESOURCES
        allowed = self.allowed_kernelspecs
        return {name: path for name, path in found.items() if name in allowed} if allowed else found

    def _names_in(self, folder: str) -> list[str]:
        """The names in a folder that can stand in a request."""
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:
            self.tell(folder, f"kernelspecs in {folder} cannot be looked at: {exc.strerror}")
            return []
        for name in names:
            if not NAMEABLE.fullmatch(name):
                self.tell(os.path.join(folder, name), f"the kernelspec {name!r} cannot be used: rename its folder")
        return [name for name in names if NAMEABLE.fullmatch(name)]

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Raises NoSuchKernel, and whatever a kernel.json may cause."""
        name = kernel_name.lower()
        path = self.find_kernel_specs().get(name)
        if path is None:
            raise NoSuchKernel(kernel_name)
        return self._get_kernel_spec_by_name(name, path)

    def get_all_specs(self) -> dict[str, Any]:
        """All kernelspecs that can be read, as jupyter_client has them."""
        specs = {}
        for name, path in self.find_kernel_specs().items():
            try:
                spec = self._get_kernel_spec_by_name(name, path)
            except NoSuchKernel:
                continue  # its provisioner is not installed, which has been said
            except Exception as exc:  # whatever a kernel.json may hold
                self.tell(path, f"the kernelspec {name} cannot be read: {exc}")
            else:
                specs[name] = {"resource_dir": path, "spec": spec.to_dict()}
        return specs

    def tell(self, path: str, what: str) -> None:
        """Warn, once: kernelspecs are listed again and again."""
        if self._told.get(path) != what:
            self._told[path] = what
            logger.warning("%s", what)
