"""Managers of kernelspecs as others write them, good ones and bad ones."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from traitlets import Unicode

KERNEL = Path(__file__).parents[1] / "kernels" / "kernel.py"
NAME = "conda-env-X-py"


class Shelf(KernelSpecManager):
    """Has a kernelspec of its own, as that of nb_conda_kernels: in no folder, and with a capital letter."""

    label = Unicode("", config=True)

    def find_kernel_specs(self) -> dict[str, str]:
        return {**super().find_kernel_specs(), NAME: "/nowhere"}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != NAME:
            return super().get_kernel_spec(kernel_name)
        argv = [sys.executable, str(KERNEL), "plain", "{connection_file}"]
        env = {"WHO": "${KERNEL_USERNAME}"}
        return KernelSpec(argv=argv, display_name=f"X{self.label}", language="python", env=env, resource_dir="/nowhere")


class Broken(KernelSpecManager):
    def __init__(self, **options: Any) -> None:
        raise RuntimeError("no conda\nhere")


class Exiting(KernelSpecManager):
    def __init__(self, **options: Any) -> None:
        sys.exit(3)


class Raising(KernelSpecManager):
    def find_kernel_specs(self) -> dict[str, str]:
        raise OSError("no conda\nhere")

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        raise ValueError("no conda here")


class Odd(KernelSpecManager):
    """Returns what it should not."""

    def get_all_specs(self) -> Any:
        return {"odd": None}

    def find_kernel_specs(self) -> Any:
        return None

    def get_kernel_spec(self, kernel_name: str) -> Any:
        return None


class Gated(KernelSpecManager):
    """Finds nothing before it may."""

    gate = threading.Event()
    calls = 0

    def find_kernel_specs(self) -> dict[str, str]:
        type(self).calls += 1
        self.gate.wait()
        return super().find_kernel_specs()

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        raise NoSuchKernel(kernel_name)


class NoManager:
    pass


a_function = Shelf.find_kernel_specs
