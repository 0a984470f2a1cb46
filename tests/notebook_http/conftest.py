"""Gateways that serve a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.apis import Serve, apis


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """As apis() says."""
    with apis(tmp_path) as serve:
        yield serve
