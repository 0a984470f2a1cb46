"""The record of kernels that a server finds at its keeper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.kept.client_sockets import ClientSockets
from fps_kernels.kernel_driver.message import Message
from fps_kernels.kernels.keeping.adoption import Adoption
from fps_kernels.kernels.keeping.kernel_keeper import KernelKeeper
from fps_kernels.kernels.keeping.next_server import OwnNextServer
from fps_kernels.kernels.keeping.opening import do_nothing
from fps_kernels.kernels.keeping.record_reading import RecordReading
from fps_kernels.kernels.kernel import Kernel
from fps_kernels.kernels.sessions import SessionStore
from fps_kernels.store.model import KernelRow, Launched, Phase

from ..support.drivers import execute
from ..support.keepers import Keepers, until_summary
from ..support.kept import KeptRegistry

pytestmark = pytest.mark.usefixtures("bounded")


class WholeRecord(RecordReading):
    """Begins with all that the keeper has, and notes what kernels say."""

    def __init__(self, folder: Path, sockets: ClientSockets) -> None:
        super().__init__(folder, sockets)
        self.heard: list[str] = []

    def start_number(self, summary: Mapping[str, Any]) -> int:
        return int(summary["seen"])

    def restore(self, kernel: Kernel, summary: Mapping[str, Any]) -> None:
        super().restore(kernel, summary)

        def hear(channel: str, messages: list[Message]) -> None:
            self.heard += [str(one.content["text"]) for one in messages if one.msg_type == "stream"]

        kernel.client.add_batch_listener(hear)


async def test_what_a_kernel_said_before_it_died_is_read_before_another_is_launched(
    keepers: Keepers, tmp_path: Path
) -> None:
    first = await keepers.connect()
    driver = await keepers.start(first)
    go = str(tmp_path / "go")
    wait = f"while not os.path.exists({go!r}): time.sleep(0.01)"
    last_words = "stream('last words'); time.sleep(0.1); os._exit(7)"
    execute(driver.client, f"import os, time\nstream('before')\n{wait}\n{last_words}")
    await first.leave()
    (tmp_path / "go").touch()
    await until_summary(await keepers.connect(), driver.kernel_id, lambda summary: not summary["running"])

    keeper = KernelKeeper(keepers.state.path, 120)
    keeper.reading = reading = WholeRecord(tmp_path / "cursors", ClientSockets(keepers.state.clients))
    registry = KeptRegistry(tmp_path, keeper=keeper)
    await registry.open()
    row = KernelRow(
        driver.kernel_id, "tiny_plain", phase=Phase.RUNNING, generation=1, launched=Launched(cwd=str(tmp_path))
    )
    server = OwnNextServer(registry, SessionStore(registry), registry.kept)
    kernel = await Adoption(server, keeper, do_nothing).adopt(row)
    assert kernel is not None
    assert reading.heard == ["before", "last words"]
    assert "7" in str(kernel.client.state.reason)
    registry.add(kernel)
    assert kernel.starting is not None
    await kernel.starting
    keepers.note_processes()
    assert kernel.execution_state == "idle"
    await registry.stop()
