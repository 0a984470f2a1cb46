"""The limit of open files: a server raises its own, as far as it may."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fps_kernels.serving.rlimits import WANTED_FILES

from ..support.gateways import Gateway

CODE = """
import resource, sys
from fps_kernels.serving.rlimits import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(256, 300, 300), (300, 300, 300), (256, WANTED_FILES + 1, WANTED_FILES), (WANTED_FILES + 1,) * 3],
)
def test_soft_limit_is_raised_and_never_lowered(soft: int, hard: int, raised: int) -> None:
    if hard > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        pytest.skip("not allowed here")
    found = subprocess.run([sys.executable, "-c", CODE, str(soft), str(hard)], capture_output=True, check=True).stdout
    assert found.split() == [str(raised).encode(), str(hard).encode()]


def test_gateway_raises_the_limit_that_it_inherits(tmp_path: Path) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        gateway = Gateway(tmp_path, stdin=subprocess.DEVNULL)  # a process of ours, not one forked from the nursery
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    try:
        gateway.wait_ready()
        assert psutil.Process(gateway.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (min(WANTED_FILES, hard), hard)
    finally:
        gateway.stop()
