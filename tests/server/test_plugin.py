"""The example plugin of the documentation, run as a plugin of its own in a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.client import Client
from ..support.servers import Server

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "result_logger.py"
ENTRY_POINTS = """
[asphalt.components]
result_logger = result_logger:ResultLogger
[jupyverse.components]
result_logger = result_logger:ResultLogger
"""


def install(folder: Path) -> None:
    """As pip would, without a wheel."""
    info = folder / "result_logger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: result_logger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    shutil.copy(EXAMPLE, folder)


@pytest.fixture
def logging_server(tmp_path: Path) -> Iterator[Server]:
    install(tmp_path / "plugins")
    path = os.pathsep.join(filter(None, [str(tmp_path / "plugins"), os.environ.get("PYTHONPATH")]))
    server = Server(tmp_path, env={"PYTHONPATH": path})
    server.wait_ready()
    yield server
    server.stop()


async def test_the_example_plugin_logs_the_results_of_all_kernels_and_survives_a_restart(
    logging_server: Server,
) -> None:
    async with Client(logging_server.url) as client:
        for number in range(2):
            kernel_id = await client.start()
            async with await client.connect(kernel_id) as socket:
                for text in (f"first of {number}", f"second of {number}"):
                    content = {"execution_count": 1, "data": {"text/plain": text}, "metadata": {}}
                    await socket.run(f"publish('execute_result', {content})")
                    assert f"kernel {kernel_id}: {text}" in logging_server.log.read_text()
                    await client.http.post(f"/api/kernels/{kernel_id}/restart")
