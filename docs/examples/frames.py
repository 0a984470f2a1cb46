"""The binary messages of both WebSocket protocols, written and read in Python."""

import json
import struct
from itertools import pairwise


def write_v1(channel: str, header: object, content: object, buffers: tuple[bytes, ...] = ()) -> bytes:
    """A message of v1.kernel.websocket.jupyter.org."""
    parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, {}, {}, content)), *buffers]
    offsets = [8 * (len(parts) + 2)]  # behind the count and the offsets
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def read_v1(message: bytes) -> tuple[str, list[bytes]]:
    """The channel, and header, parent_header, metadata, content and any buffers."""
    (count,) = struct.unpack_from("<Q", message)
    offsets = struct.unpack_from(f"<{count}Q", message, 8)
    channel, *frames = (message[start:end] for start, end in pairwise(offsets))
    return channel.decode(), frames


def read_default(message: str | bytes) -> tuple[dict, list[bytes]]:
    """A message of the default protocol, and its buffers."""
    if isinstance(message, str):
        return json.loads(message), []
    (count,) = struct.unpack_from("!I", message)
    offsets = (*struct.unpack_from(f"!{count}I", message, 4), len(message))
    body, *buffers = (message[start:end] for start, end in pairwise(offsets))
    return json.loads(body), buffers
