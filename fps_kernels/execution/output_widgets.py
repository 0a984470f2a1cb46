"""Output widgets: what a cell puts out while one of them captures it belongs to the widget's state, not to the cell.

A widget of ipywidgets' class `Output` says with its state `msg_id` which request it captures. Its front end takes the
outputs of that request out of the cell's, and sends the widget's new state to the kernel. Of cells that the server
executes front ends see no outputs, so the server does their part: it keeps the outputs of each widget, shows them to
all WebSockets as changes of state that look like the kernel's, and sends them to the kernel when the widget captures no
more, and when the cell has ended. The kernel reads such messages between two cells.

Of several widgets that capture the same request, the last one gets its outputs, as with nested `with`.
Source: ipywidgets' manager for JupyterLab, output.ts; nbclient does the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import FPSKernelsError
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import Message, dump_json, make_frames
from .output_messages import OUTPUT_TYPES, encodable, take_output
from .outputs import OutputLimits, Outputs

logger = logging.getLogger(__name__)

COMM_TYPES = ("comm_open", "comm_msg", "comm_close")

LIMITS = OutputLimits(max_text_chars=1024 * 1024, max_outputs=1_000, max_bytes=16 * 1024 * 1024)
"""The bounds of the outputs of one widget: all of them are sent with each change."""
MAX_WIDGETS = 200
"""Widgets of one kernel that are remembered; the one that has been silent for longest goes first."""
SHOW_INTERVAL_S = 0.1
"""The shortest time between two changes that are shown."""
SHOW_BYTES_PER_S = 2_000_000
"""The rate at which changes are shown, as each has all the outputs: large ones are shown less often."""


class OutputWidget:
    """A widget, as far as it is known here.

    msg_id: the request that it captures; "" for none.
    dirty: whether the kernel does not know its outputs yet.
    """

    def __init__(self, comm_id: str) -> None:
        self.comm_id = comm_id
        self.msg_id = ""
        self.outputs = Outputs(LIMITS)
        self.dirty = False
        self.showing: asyncio.TimerHandle | None = None

    def load(self, outputs: Any) -> None:
        """Take the outputs that the kernel says it has."""
        self.outputs = Outputs(LIMITS)
        self.dirty = False
        for one in outputs if isinstance(outputs, list) else ():
            if not isinstance(one, dict):
                continue
            text = one.get("text")
            text = "".join(map(str, text)) if isinstance(text, list) else text
            if one.get("output_type") == "stream" and isinstance(text, str):
                self.outputs.stream(encodable(str(one.get("name"))), encodable(text))
            else:
                self.outputs.add(encodable(one), len(dump_json(one)))


class OutputWidgets:
    """The Output widgets of one kernel.

    broadcast(channel, frames): sends a message to all WebSockets of the kernel.
    session: the client session in the headers of what is sent to the kernel.
    """

    def __init__(self, client: KernelClient, broadcast: Callable[[str, Sequence[bytes]], None], session: str) -> None:
        self._client = client
        self._broadcast = broadcast
        self._session = session
        self._widgets: OrderedDict[str, OutputWidget] = OrderedDict()
        self._capturing: dict[str, list[OutputWidget]] = {}  # by the msg_id of the request
        self._ended: set[str] = set()  # requests that are captured and whose cells have ended

    def on_comm(self, message: Message) -> None:
        """Follow the state of widgets. Raises MalformedMessage."""
        text = message.frames[3]
        if message.msg_type == "comm_msg" and b'"msg_id"' not in text and b'"outputs"' not in text:
            return  # of another widget: there may be many
        content = message.content
        comm_id = content.get("comm_id")
        if not isinstance(comm_id, str):
            return
        if message.msg_type == "comm_close":
            widget = self._widgets.pop(comm_id, None)
            if widget is not None:
                self._release(widget)
            return
        data = content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(state, dict):
            return
        if data.get("method") == "echo_update" and message.parent_session == self._session:
            return  # of what was sent from here
        widget = self._widgets.get(comm_id)
        if widget is None:
            if not (state.get("_model_name") == "OutputModel" or isinstance(state.get("msg_id"), str)):
                return
            widget = self._widgets[comm_id] = OutputWidget(comm_id)
            if len(self._widgets) > MAX_WIDGETS:
                self._release(self._widgets.popitem(last=False)[1])
        self._widgets.move_to_end(comm_id)
        if "outputs" in state:
            widget.load(state["outputs"])
        msg_id = state.get("msg_id")
        if isinstance(msg_id, str) and msg_id != widget.msg_id:
            self._release(widget)
            if msg_id:
                widget.msg_id = msg_id
                self._capturing.setdefault(msg_id, []).append(widget)

    def take(self, message: Message) -> bool:
        """Give a message about outputs to the widget that captures it; returns whether there is one."""
        capturing = self._capturing.get(message.parent_msg_id)
        if not capturing or message.msg_type not in OUTPUT_TYPES:
            return False
        widget = capturing[-1]
        take_output(widget.outputs, message)
        self._on_change(widget)
        return True

    def update_display(self, name: str, data: Any, metadata: Any, size: int) -> None:
        """Update what widgets show of a display."""
        for widget in self._widgets.values():
            if name in widget.outputs.display_ids and widget.outputs.update_display(name, data, metadata, size):
                self._on_change(widget)

    def on_end(self, msg_id: str) -> None:
        """A cell has ended: the kernel is told what its widgets have captured."""
        capturing = self._capturing.get(msg_id, ())
        if capturing:
            self._ended.add(msg_id)
        for widget in capturing:
            self._settle(widget)

    def clear(self) -> None:
        """Forget all widgets: the kernel is another one, or gone."""
        for widget in self._widgets.values():
            if widget.showing is not None:
                self._cancel(widget)
                self._broadcast("iopub", self._client.make_frames("comm_msg", _update(widget)))
        self._widgets.clear()
        self._capturing.clear()
        self._ended.clear()

    def _release(self, widget: OutputWidget) -> None:
        """End what a widget captures."""
        self._settle(widget)
        capturing = self._capturing.get(widget.msg_id, [])
        if widget in capturing:
            capturing.remove(widget)
        if not capturing:
            self._capturing.pop(widget.msg_id, None)
            self._ended.discard(widget.msg_id)
        widget.msg_id = ""

    def _on_change(self, widget: OutputWidget) -> None:
        widget.dirty = True
        if widget.showing is None:
            delay_s = max(SHOW_INTERVAL_S, widget.outputs.size / SHOW_BYTES_PER_S)
            widget.showing = asyncio.get_running_loop().call_later(delay_s, self._show, widget)

    def _show(self, widget: OutputWidget) -> None:
        """Show the outputs of a widget in all front ends, and tell the kernel if there is no end of a cell to come."""
        self._cancel(widget)
        self._broadcast("iopub", self._client.make_frames("comm_msg", _update(widget)))
        if not widget.msg_id or widget.msg_id in self._ended:
            self._tell_kernel(widget)

    def _settle(self, widget: OutputWidget) -> None:
        """Show and tell what has changed, now."""
        if widget.showing is not None:
            self._cancel(widget)
            if widget.dirty:
                self._broadcast("iopub", self._client.make_frames("comm_msg", _update(widget)))
        if widget.dirty:
            self._tell_kernel(widget)

    @staticmethod
    def _cancel(widget: OutputWidget) -> None:
        if widget.showing is not None:
            widget.showing.cancel()
            widget.showing = None

    def _tell_kernel(self, widget: OutputWidget) -> None:
        widget.dirty = False
        try:
            self._client.send("shell", make_frames("comm_msg", _update(widget), self._session))
        except FPSKernelsError as exc:  # it is gone, or clients may not send this
            logger.debug("kernel %s: a widget's outputs are not told: %s", self._client.kernel_id, exc)


def _update(widget: OutputWidget) -> dict[str, Any]:
    """The content of a comm_msg that sets the outputs of a widget."""
    state = {"outputs": widget.outputs.snapshot()}
    return {"comm_id": widget.comm_id, "data": {"method": "update", "state": state, "buffer_paths": []}}
