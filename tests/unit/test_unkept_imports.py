"""What a server that keeps no kernels does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import asyncio, sys
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.keeping.opening import keepsake_of, open_kernels
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import SessionStore
from fps_kernels.options import KernelsOptions
import fps_kernels.gateway.gateway_server, fps_kernels.gateway.run, fps_kernels.main

async def main():
    options = KernelsOptions(keep_kernels="never", connection_dir=sys.argv[1], prewarm=0)
    registry = KernelRegistry(options, Kernelspecs(options.default_kernel), keepsake=keepsake_of(options))
    assert registry.factory.keepsake.keeper is None
    await open_kernels(registry, SessionStore(registry))
    await registry.stop()

asyncio.run(main())
print(*sorted(name for name in sys.modules if name.startswith(("fps_kernels.kept", "fps_kernels.keeper", "sqlite3"))))
"""


def test_a_server_that_keeps_no_kernels_imports_nothing_of_the_keeper(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
