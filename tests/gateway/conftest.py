"""Processes of the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.gateways import Begin, gateways, make_certificate
from ..support.kept_gateways import KeptGateways, keeping_gateways


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Gateways of the test's own."""
    with gateways(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def begin_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begin]:
    """Gateways that several tests use."""
    with gateways(tmp_path_factory.mktemp("gateways")) as begin:
        yield begin


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The files of a certificate and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture
def kept_gateways(tmp_path: Path) -> Iterator[KeptGateways]:
    """Gateways that keep kernels, with folders of the test's own."""
    with keeping_gateways(tmp_path) as gateways:
        yield gateways
