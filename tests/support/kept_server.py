"""A program that stands for a server: it starts a kernel by way of a keeper, and writes down what it hears.

usage: python -m tests.support.kept_server STATE_DIR CONNECTION_DIR CODE

It writes lines of JSON to stdout, each in one piece:

    {"kernel": ID}                      when the kernel is ready
    {"request": MSG_ID}                 when it has sent the code
    {"end": SEQ, "heard": [[TYPE, TEXT], ...]}    what it has heard up to the number SEQ of the record
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import zmq

from fps_kernels.keeper.keeper_folder import KeeperFolder
from fps_kernels.kept.keeper_client import KeeperClient
from fps_kernels.kept.kept_launcher import KeptLauncher
from fps_kernels.kept.kept_process import KeptProcess, open_channels
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.driver import KernelDriver
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.launch import LaunchOptions
from fps_kernels.kernel_driver.message import Message

from .drivers import execute


def tell(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


async def main(state_dir: str, connection_dir: str, code: str) -> None:
    keeper = KeeperClient(KeeperFolder(Path(state_dir)), orphan_timeout_s=120)
    await keeper.start()
    options = LaunchOptions("tiny_plain", state_dir, dict(os.environ), {}, Path(connection_dir))
    client = KernelClient(uuid.uuid4().hex, zmq.Context(), open_channels=open_channels)
    driver = KernelDriver(client, KeptLauncher(options, Kernelspecs(), keeper))
    await driver.start()
    process = driver._process
    assert isinstance(process, KeptProcess)

    def hear(channel: str, messages: list[Message]) -> None:
        assert process.channels is not None
        heard = [(message.msg_type, message.content.get("text", "")) for message in messages]
        tell(end=process.channels.next_seq, heard=heard)

    client.add_batch_listener(hear)
    tell(kernel=client.kernel_id)
    tell(request=execute(client, code))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
