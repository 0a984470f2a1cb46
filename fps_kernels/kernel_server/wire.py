"""The two WebSocket protocols of Jupyter: v1 (binary) and default (JSON). Pure.

Every offset that a peer sends is checked before it is used. Source: "Websocket protocols" in the
documentation of Jupyter Server.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Sequence

from ..errors import MalformedMessage
from ..kernel_driver.message import EMPTY_DICT, Buffer, dump_json, load_object, peek_msg_id, peek_msg_type
from ..websocket.frame_batch import Chunks
from ..websocket.frames import LARGE_BYTES

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"
CHANNELS = frozenset({"shell", "control", "stdin", "iopub"})

_U64 = struct.Struct("<Q")
_U32 = struct.Struct("!I")
# The prefix of a message without buffers: the count and six offsets.
_V1_PLAIN = struct.Struct("<7Q")
# A string of a header as it is there, which takes a third of the time of reading and writing it; see message.py.
_MSG_ID = re.compile(rb'"msg_id"\s*:\s*("[^"\\]*")')
_MSG_TYPE = re.compile(rb'"msg_type"\s*:\s*("[^"\\]*")')
_MAX_BUFFERS = 65_536
"""More buffers in one message than any client makes; keeps a forged count from costing time."""


def encode_v1(channel: bytes, frames: Sequence[bytes]) -> bytes:
    """One v1 frame of a message.

    channel: ASCII; frames: header, parent_header, metadata, content, then any buffers.
    """
    return b"".join(v1_pieces(channel, frames))


def v1_pieces(channel: bytes, frames: Sequence[bytes]) -> list[bytes]:
    """The same, not yet put together."""
    if len(frames) == 4:
        header, parent_header, metadata, content = frames
        first = 56 + len(channel)
        second = first + len(header)
        third = second + len(parent_header)
        fourth = third + len(metadata)
        prefix = _V1_PLAIN.pack(6, 56, first, second, third, fourth, fourth + len(content))
        return [prefix, channel, header, parent_header, metadata, content]
    count = len(frames) + 2
    offset = 8 * (count + 1)
    offsets = [offset]
    offset += len(channel)
    offsets.append(offset)
    for frame in frames:
        offset += len(frame)
        offsets.append(offset)
    return [struct.pack(f"<{count + 1}Q", count, *offsets), channel, *frames]


def decode_v1(data: bytes | bytearray) -> tuple[str, list[Buffer]]:
    """Split a v1 frame into its channel and its frames.

    data: count (u64 little-endian), that many u64 offsets from the start of the frame, channel,
      header, parent_header, metadata, content, then any buffers; the last offset is the length. Of
      large contents and buffers the caller gets views.
    Raises MalformedMessage when the frame is short, or an offset is out of order or outside.
    Source: v1.kernel.websocket.jupyter.org, documentation of Jupyter Server.
    """
    size = len(data)
    if size < 8:
        raise MalformedMessage(f"a v1 frame of {size} bytes has no offset count")
    (count,) = _U64.unpack_from(data)
    if not 6 <= count <= _MAX_BUFFERS + 6:
        raise MalformedMessage(f"a v1 frame has at least 6 offsets, not {count}")
    start = 8 * (count + 1)
    if start > size:
        raise MalformedMessage(f"a v1 frame of {size} bytes cannot hold {count} offsets")
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    if offsets[0] != start or offsets[-1] != size:
        raise MalformedMessage("the offsets of a v1 frame do not span it")
    source = data if isinstance(data, bytes) and size < LARGE_BYTES else memoryview(data)
    pieces: list[Buffer] = []
    previous = start
    for offset in offsets[1:]:
        if not previous <= offset <= size:
            raise MalformedMessage("the offsets of a v1 frame are out of order")
        pieces.append(source[previous:offset])
        previous = offset
    if source is not data:
        pieces[:4] = map(bytes, pieces[:4])
        pieces[4:] = [piece if len(piece) >= LARGE_BYTES else bytes(piece) for piece in pieces[4:]]
    channel, *frames = pieces
    return _known_channel(bytes(channel)), frames


def encode_default(channel: str, frames: Sequence[bytes]) -> str | bytes:
    """One frame of the default protocol: text, or binary when the message has buffers."""
    is_text, pieces = default_pieces(channel, frames)
    frame = b"".join(pieces)
    return frame.decode() if is_text else frame


def default_pieces(channel: str, frames: Sequence[bytes]) -> Chunks:
    """The same, not yet put together. The JSON frames are copied as they are, not parsed."""
    header = bytes(frames[0])
    body = b"".join(
        (
            b'{"channel":"',
            channel.encode(),
            b'","msg_id":',
            _shown(_MSG_ID, peek_msg_id, header),
            b',"msg_type":',
            _shown(_MSG_TYPE, peek_msg_type, header),
            b',"header":',
            header,
            b',"parent_header":',
            frames[1],
            b',"metadata":',
            frames[2],
            b',"content":',
            frames[3],
            b',"buffers":[]}' if len(frames) == 4 else b"}",
        )
    )
    if len(frames) == 4:
        return True, [body if body.isascii() else body.decode("utf-8", "replace").encode()]
    sizes = [len(body), *map(len, frames[4:])]
    offset = 4 * (len(sizes) + 1)
    offsets = []
    for size in sizes:
        offsets.append(offset)
        offset += size
    if offset >= 1 << 32:
        raise MalformedMessage("a message of 4 GiB does not fit into the default protocol", 1009)
    return False, [struct.pack(f"!{len(sizes) + 1}I", len(sizes), *offsets), body, *frames[4:]]


def _shown(pattern: re.Pattern[bytes], peek: Callable[[bytes], str], header: bytes) -> bytes:
    """As JSON; a kernel's header that cannot be read must not cost the other messages of its batch."""
    if header.count(b"{") == 1 and (match := pattern.search(header)):
        return match[1]
    try:
        return dump_json(peek(header))
    except MalformedMessage:
        return b'""'


def decode_default(data: str | bytes | bytearray) -> tuple[str, list[Buffer]]:
    """Split a frame of the default protocol into its channel and its frames.

    data: JSON text; or, binary: count (u32 big-endian), that many u32 offsets from the start of the
      frame, JSON, buffers. Without a channel it is for shell.
    Raises MalformedMessage.
    Source: "Websocket Wire protocol" in the documentation of Jupyter Server.
    """
    buffers: list[Buffer] = []
    if isinstance(data, str):
        body = data.encode("utf-8", "surrogatepass")
    else:
        body, buffers = _split_binary(data)
    message = load_object(body, "message")
    channel = message.get("channel") or "shell"
    if not isinstance(channel, str):
        raise MalformedMessage("channel is not a string")
    header = message.get("header")
    if not isinstance(header, dict):
        raise MalformedMessage("a message without a header")
    frames: list[Buffer] = [dump_json(header)]
    for name in ("parent_header", "metadata", "content"):
        value = message.get(name)
        if value is None:
            frames.append(EMPTY_DICT)
        elif isinstance(value, dict):
            frames.append(dump_json(value))
        else:
            raise MalformedMessage(f"{name} is not a JSON object")
    return _known_channel(channel.encode("utf-8", "replace")), frames + buffers


def check_request(channel: str, frames: Sequence[Buffer]) -> None:
    """Raises MalformedMessage unless a client may send this to a kernel.

    The header must be a JSON object with a msg_id and a msg_type that are strings, so that the
    reply can be routed; iopub goes only the other way.
    """
    if channel == "iopub":
        raise MalformedMessage("a client cannot send on iopub", 1003)
    data = bytes(frames[0])
    header = load_object(data, "header")
    for key, peek in (("msg_id", peek_msg_id), ("msg_type", peek_msg_type)):
        if not isinstance(header.get(key), str) or not header[key]:
            raise MalformedMessage(f"header has no {key}")
        # Of two keys a peek sees the first, the kernel's parser the last: what is allowed must be what is done.
        if peek(data) != header[key]:
            raise MalformedMessage(f"header has more than one {key}")


def _known_channel(channel: bytes) -> str:
    name = channel.decode("ascii", "replace")
    if name not in CHANNELS:
        raise MalformedMessage(f"unknown channel: {json.dumps(name[:40])}", 1003)
    return name


def _split_binary(data: bytes | bytearray) -> tuple[bytes, list[Buffer]]:
    size = len(data)
    if size < 4:
        raise MalformedMessage(f"a binary frame of {size} bytes has no offset count")
    (count,) = _U32.unpack_from(data)
    if not 1 <= count <= _MAX_BUFFERS + 1:
        raise MalformedMessage(f"a binary frame cannot have {count} offsets")
    start = 4 * (count + 1)
    if start > size:
        raise MalformedMessage(f"a binary frame of {size} bytes cannot hold {count} offsets")
    offsets = struct.unpack_from(f"!{count}I", data, 4)
    if offsets[0] != start:
        raise MalformedMessage("the first offset of a binary frame does not follow the offsets")
    pieces = []
    view = memoryview(data)
    for begin, end in zip(offsets, (*offsets[1:], size), strict=True):
        if not begin <= end <= size:
            raise MalformedMessage("the offsets of a binary frame are out of order")
        pieces.append(view[begin:end])
    body, *buffers = pieces
    return bytes(body), [buffer if len(buffer) >= LARGE_BYTES else bytes(buffer) for buffer in buffers]
