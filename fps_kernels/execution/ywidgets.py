"""Comms between kernels and the Yjs plugin, for widgets whose state is a shared document (ypywidgets).

The plugin keeps a model of each widget that follows the one in the kernel. The messages are those of the Yjs sync
protocol, in the buffers of comm messages. Front ends have comms of their own.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from ..errors import FPSKernelsError, MalformedMessage
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import Message, make_frames

logger = logging.getLogger(__name__)

TARGET = "ywidget"


class YWidgets:
    """The widgets of one kernel.

    widgets: the `widgets` of fps-yjs.
    """

    def __init__(self, client: KernelClient, widgets: Any) -> None:
        self._client = client
        self._widgets = widgets
        self._session = uuid.uuid4().hex
        self._comms: set[str] = set()
        types = ("comm_open", "comm_msg", "comm_close")
        client.add_listener(self._on_message, [(msg_type, "iopub") for msg_type in types])

    def _on_message(self, channel: str, frames: Sequence[bytes]) -> None:
        message = Message(channel, list(frames))
        try:
            content = message.content
            comm_id = content.get("comm_id")
            if not isinstance(comm_id, str):
                return
            if message.msg_type == "comm_open" and content.get("target_name") == TARGET:
                self._widgets.comm_open(_as_dict(message), Comm(self._client, comm_id, self._session))
                self._comms.add(comm_id)
            elif message.msg_type == "comm_msg" and comm_id in self._comms and message.buffers:
                self._widgets.comm_msg(_as_dict(message))
            elif message.msg_type == "comm_close" and comm_id in self._comms:
                self._comms.discard(comm_id)
                self._widgets.widgets.pop(comm_id, None)
        except MalformedMessage as exc:
            logger.warning("kernel %s: a comm message of no use: %s", self._client.kernel_id, exc)


class Comm:
    """A comm through which a widget of the plugin sends its changes."""

    def __init__(self, client: KernelClient, comm_id: str, session: str) -> None:
        self.comm_id = comm_id
        self._client = client
        self._session = session
        self._failed = False

    def send(self, buffers: Sequence[bytes]) -> None:
        frames = make_frames("comm_msg", {"comm_id": self.comm_id, "data": {}}, self._session)
        try:
            self._client.send("shell", [*frames, *buffers])
        except FPSKernelsError as exc:
            level = logging.DEBUG if self._failed else logging.WARNING
            logger.log(level, "kernel %s: a widget cannot be updated: %s", self._client.kernel_id, exc)
            self._failed = True


def _as_dict(message: Message) -> dict[str, Any]:
    """A message in the form that fps-yjs takes."""
    return {
        "header": message.header,
        "parent_header": message.parent_header,
        "metadata": message.metadata,
        "content": message.content,
        "buffers": message.buffers,
    }
