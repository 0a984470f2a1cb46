"""The state of widgets, saved in a notebook so that pages without a kernel show them as they were. Pure.

Each widget of ipywidgets is a comm of the target `jupyter.widget`; its state comes with comm_open and changes with
comm_msg. Buffers are saved as base64. Source: ipywidgets' "Model state" schema, version 2; nbclient does the same.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from ..execution.output_messages import encodable
from ..kernel_driver.message import Message

TARGET = "jupyter.widget"
MIMETYPE = "application/vnd.jupyter.widget-state+json"


class WidgetStates:
    """The widgets of one kernel that are open."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._buffers: dict[str, dict[tuple[Any, ...], str]] = {}

    def on_comm(self, message: Message) -> None:
        """Follow a comm message on iopub. Raises MalformedMessage."""
        content = message.content
        comm_id, data = content.get("comm_id"), content.get("data")
        if not isinstance(comm_id, str) or not isinstance(data, dict):
            return
        if message.msg_type == "comm_open":
            if content.get("target_name") == TARGET:
                self._states[comm_id], self._buffers[comm_id] = {}, {}
        elif message.msg_type == "comm_close":
            self._states.pop(comm_id, None)
            self._buffers.pop(comm_id, None)
            return
        if comm_id not in self._states or not isinstance(state := data.get("state"), dict):
            return
        self._states[comm_id] |= encodable(state)
        kept = self._buffers[comm_id]
        for path in [path for path in kept if path and path[0] in state]:
            del kept[path]  # of what has another value now
        paths = data.get("buffer_paths")
        for path, buffer in zip(paths if isinstance(paths, list) else (), message.frames[4:], strict=False):
            if isinstance(path, list) and all(isinstance(one, str | int) for one in path):
                kept[tuple(path)] = base64.b64encode(buffer).decode()

    def metadata(self) -> dict[str, Any] | None:
        """What a notebook's metadata has as `widgets`; None if there are none."""
        saved = {comm_id: self._saved(comm_id, state) for comm_id, state in self._states.items() if state}
        if not saved:
            return None
        return {MIMETYPE: {"version_major": 2, "version_minor": 0, "state": saved}}

    def _saved(self, comm_id: str, state: dict[str, Any]) -> dict[str, Any]:
        buffers: Sequence[dict[str, Any]] = [
            {"path": list(path), "data": data, "encoding": "base64"} for path, data in self._buffers[comm_id].items()
        ]
        model: dict[str, Any] = {
            "model_name": state.get("_model_name"),
            "model_module": state.get("_model_module"),
            "model_module_version": state.get("_model_module_version"),
            "state": state,
        }
        if buffers:
            model["buffers"] = buffers
        return model
