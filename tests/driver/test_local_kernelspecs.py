"""Which kernelspecs are for kernels on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpec

from fps_kernels.kernel_driver.spec_classes import SpecClasses


@pytest.mark.parametrize(
    ("metadata", "default", "expected"),
    [
        ({}, None, True),
        ({"kernel_provisioner": {"provisioner_name": "local-provisioner"}}, "k8s", True),
        ({"kernel_provisioner": {"provisioner_name": "k8s"}}, None, False),
        ({"kernel_provisioner": {}}, "k8s", False),
        ({"kernel_provisioner": "nonsense"}, None, True),
        ({}, "k8s", False),
    ],
)
def test_whether_a_kernelspec_is_for_this_machine(
    metadata: dict[str, Any], default: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTER_DEFAULT_PROVISIONER_NAME", raising=False)
    if default is not None:
        monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", default)
    assert SpecClasses().is_local(KernelSpec(metadata=metadata)) is expected
