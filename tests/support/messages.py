"""Messages of kernels, and the frames of both WebSocket protocols that carry them.

These codecs are the tests' own, so that the tests do not check ours with themselves.
"""

from __future__ import annotations

import itertools
import json
import struct
import uuid
from collections.abc import Callable
from typing import Any

V1 = "v1.kernel.websocket.jupyter.org"


Json = dict[str, Any]


def header(msg_type: str, session: str) -> Json:
    return {
        "msg_id": uuid.uuid4().hex,
        "msg_type": msg_type,
        "username": "test",
        "session": session,
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.4",
    }


def pack_v1(message: Json) -> bytes:
    parts = [message["channel"].encode()]
    parts += [json.dumps(message[name]).encode() for name in ("header", "parent_header", "metadata", "content")]
    parts += message["buffers"]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def unpack_v1(data: bytes) -> Json:
    (count,) = struct.unpack("<Q", data[:8])
    offsets = struct.unpack(f"<{count}Q", data[8 : 8 * (count + 1)])
    parts = [data[begin:end] for begin, end in itertools.pairwise(offsets)]
    names = ("header", "parent_header", "metadata", "content")
    message: Json = dict(zip(names, map(json.loads, parts[1:5]), strict=True))
    return message | {"channel": parts[0].decode(), "buffers": parts[5:], "msg_type": message["header"]["msg_type"]}


def pack_default(message: Json) -> str | bytes:
    if not message["buffers"]:
        return json.dumps(message)
    body = json.dumps({key: value for key, value in message.items() if key != "buffers"}).encode()
    parts = [body, *message["buffers"]]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def unpack_default(data: str | bytes) -> Json:
    if isinstance(data, str):
        return json.loads(data)
    (count,) = struct.unpack("!I", data[:4])
    offsets = [*struct.unpack(f"!{count}I", data[4 : 4 * (count + 1)]), len(data)]
    parts = [data[begin:end] for begin, end in itertools.pairwise(offsets)]
    return json.loads(parts[0]) | {"buffers": parts[1:]}


def is_answered(answers: list[Json]) -> bool:
    """Whether the reply and the idle of a request are there."""
    return any(m["msg_type"].endswith("_reply") for m in answers) and any(is_status(m, "idle") for m in answers)


def is_status(message: Json, state: str) -> bool:
    return (message["channel"], message["msg_type"]) == ("iopub", "status") and message["content"][
        "execution_state"
    ] == state


def of_type(messages: list[Json], msg_type: str) -> list[Json]:
    return [message for message in messages if message["header"]["msg_type"] == msg_type]


def text_of(messages: list[Json], name: str = "stdout") -> str:
    """The joined stream text."""
    return "".join(m["content"]["text"] for m in of_type(messages, "stream") if m["content"]["name"] == name)


def is_end_of(msg_id: str) -> Callable[[Json], bool]:
    """Whether a request's reply and its idle status, which may come in any order, have both come with a message."""
    seen = set()

    def is_end(message: Json) -> bool:
        if message["parent_header"].get("msg_id") == msg_id:
            seen.add("idle" if is_status(message, "idle") else message["msg_type"])
        return {"idle", "execute_reply"} <= seen

    return is_end
