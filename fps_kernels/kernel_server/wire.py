"""The two WebSocket protocols of Jupyter: v1 (binary) and default (JSON). Pure.

Each offset that a client sends is checked before it is used. Source: "Websocket protocols" in the
documentation of Jupyter Server.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from operator import gt
from typing import Any

from ..errors import MalformedMessage
from ..kernel_driver.message import (
    EMPTY_DICT,
    PROTOCOL_VERSION,
    Buffer,
    RequestHeader,
    dump_json,
    load_object,
    peek_msg_id,
    peek_msg_type,
)
from ..kernel_driver.message_form import CHECKED_MAX_BYTES, is_object
from ..websocket.frame_batch import Chunks, IncomingMessage
from ..websocket.frames import LARGE_BYTES, Lease, Payload

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"
CHANNELS = frozenset({"shell", "control", "stdin", "iopub"})

_U64 = struct.Struct("<Q")
_U32 = struct.Struct("!I")
# The table of a message without buffers: the count and six offsets.
_V1_PLAIN = struct.Struct("<7Q")
# A string of a header with its quotes, to be copied: a third of the time of parsing and dumping it. See message.py.
_MSG_ID = re.compile(rb'"msg_id"\s*:\s*("[^"\\]*")')
_MSG_TYPE = re.compile(rb'"msg_type"\s*:\s*("[^"\\]*")')
_HEADER_DEFAULTS = {"msg_id": "", "msg_type": "", "username": "", "session": "", "version": PROTOCOL_VERSION}
"""What a header must have, and what stands in for what a client has left out."""
_MAX_BUFFERS = 65_536
"""Buffers that one message may have: more than any client sends, so few that a forged count costs no time."""


def encode_v1(channel: bytes, frames: Sequence[bytes]) -> bytes:
    """Encode a message for the v1 protocol.

    channel: ASCII; frames: header, parent_header, metadata, content, then any buffers.
    """
    return b"".join(v1_pieces(channel, frames))


def v1_pieces(channel: bytes, frames: Sequence[bytes]) -> list[bytes]:
    """The same as `encode_v1`, in pieces that are not yet joined."""
    if len(frames) == 4:
        header, parent_header, metadata, content = frames
        first = 56 + len(channel)
        second = first + len(header)
        third = second + len(parent_header)
        fourth = third + len(metadata)
        prefix = _V1_PLAIN.pack(6, 56, first, second, third, fourth, fourth + len(content))
        return [prefix, channel, header, parent_header, metadata, content]
    count = len(frames) + 2
    offsets = accumulate(map(len, (channel, *frames)), initial=_U64.size * (count + 1))
    return [struct.pack(f"<{count + 1}Q", count, *offsets), channel, *frames]


def encode_default(channel: str, frames: Sequence[bytes]) -> str | bytes:
    """Encode a message for the default protocol: as text, or in binary when it has buffers."""
    is_text, pieces = default_pieces(channel, frames)
    frame = b"".join(pieces)
    return frame.decode() if is_text else frame


def default_pieces(channel: str, frames: Sequence[bytes]) -> Chunks:
    """The same as `encode_default`, in pieces that are not yet joined. The JSON frames are copied, not parsed.

    So a frame that is no JSON value could hold further keys of the message. Of two equal keys a parser takes the last:
    the envelope, which clients are told the channel by, comes after all that a kernel writes, and the header after
    what is below it.
    """
    header = bytes(frames[0])
    body = b"".join(
        (
            b'{"content":',
            frames[3],
            b',"metadata":',
            frames[2],
            b',"parent_header":',
            frames[1],
            b',"header":',
            header,
            b',"channel":"',
            channel.encode(),
            b'","msg_id":',
            _json_string(_MSG_ID, peek_msg_id, header),
            b',"msg_type":',
            _json_string(_MSG_TYPE, peek_msg_type, header),
            b',"buffers":[]}' if len(frames) == 4 else b"}",
        )
    )
    if len(frames) == 4:
        return True, [body if body.isascii() else body.decode("utf-8", "replace").encode()]
    pieces = [body, *frames[4:]]
    count = len(pieces)
    *offsets, end = accumulate(map(len, pieces), initial=_U32.size * (count + 1))
    if end >= 1 << 32:
        raise MalformedMessage("a message of 4 GiB does not fit into the default protocol", 1009)
    return False, [struct.pack(f"!{count + 1}I", count, *offsets), *pieces]


def _json_string(pattern: re.Pattern[bytes], peek: Callable[[bytes], str], header: bytes) -> bytes:
    """A string of a kernel's header, as JSON; "" when it is unreadable, so that the rest of the batch is not lost."""
    if header.count(b"{") == 1 and (match := pattern.search(header)):
        return match[1]
    try:
        return dump_json(peek(header))
    except MalformedMessage:
        return b'""'


def decode_request(data: IncomingMessage, *, v1: bool) -> tuple[str, list[Buffer], RequestHeader]:
    """Read a message of a client: its channel, its frames, and what its header says.

    v1: whether the client speaks the v1 protocol rather than the default one.
    A header that lacks what kernels expect gets it, and what is empty or null stands for an object.
    Raises MalformedMessage when the frames cannot be told apart; on iopub, where only kernels send; unless the header
      is a JSON object with a msg_type; and unless all frames before the buffers are JSON objects.
    """
    if not v1:
        channel, frames, header = decode_default(data)
    elif isinstance(data, str):
        raise MalformedMessage("the v1 protocol has no text frames", 1003)
    else:
        channel, frames = decode_v1(data)
        header = None
    if channel == "iopub":
        raise MalformedMessage("a client cannot send on iopub", 1003)
    raw = bytes(frames[0])
    if header is None:
        header = load_object(raw, "header")
        frames[1:4] = [
            _object(*part) for part in zip(frames[1:4], ("parent_header", "metadata", "content"), strict=True)
        ]
    for key in ("msg_id", "msg_type"):
        if key not in header or (key == "msg_type" and header[key] in ("", None)):
            raise MalformedMessage(f"header has no {key}")
    for key, peek in (("msg_id", peek_msg_id), ("msg_type", peek_msg_type)):
        # Of two equal keys a peek sees the first and a parser the last: what was allowed must be what is done.
        if v1 and isinstance(header[key], str) and peek(raw) != header[key]:
            raise MalformedMessage(f"header has more than one {key}")
    repaired = _repaired(header)
    if repaired is not None:
        frames[0] = sent = dump_json(repaired)
        return channel, frames, RequestHeader(repaired["msg_id"], repaired["msg_type"], sent, dump_json(header))
    if v1 and not _is_plain(raw):
        frames[0] = raw = dump_json(header)
    return channel, frames, RequestHeader(header["msg_id"], header["msg_type"], raw)


def _repaired(header: dict[str, Any]) -> dict[str, Any] | None:
    """The header with what kernels need, None when it has all that.

    Many kernels cannot read another type than a string, ipykernel needs the version, and answers find their request by
    its msg_id. A client gets its own back, see KernelServer.
    Raises MalformedMessage when something that should be a string is an array or an object.
    """
    if header["msg_id"] and all(isinstance(header.get(name), str) for name in _HEADER_DEFAULTS):
        return None
    repaired = dict(header)
    for name, default in _HEADER_DEFAULTS.items():
        value = header.get(name)
        if isinstance(value, (dict, list)):
            raise MalformedMessage(f"header has no {name} that is a string")
        if not isinstance(value, str):
            repaired[name] = default if value is None else json.dumps(value)
    if not isinstance(header["msg_id"], str) or not header["msg_id"]:
        repaired["msg_id"] = uuid.uuid4().hex
    return repaired


def _object(frame: Buffer, name: str) -> Buffer:
    """A frame of a client, `{}` for an empty one or null. Raises MalformedMessage unless it is a JSON object."""
    if frame == EMPTY_DICT:
        return frame
    data = bytes(frame[:CHECKED_MAX_BYTES])
    if len(data) == len(frame):
        if data.strip() in (b"", b"null"):
            return EMPTY_DICT
        if not is_object(data):
            load_object(data, name)
    elif data[:1] != b"{":
        raise MalformedMessage(f"{name} is not a JSON object")
    return frame


def _is_plain(header: bytes) -> bool:
    """Whether every parser reads a JSON object alike: ASCII, without escapes and objects in it; not UTF-16, either."""
    return header.isascii() and header.count(b"{") == 1 and b"\\" not in header and b"\0" not in header


def decode_v1(data: bytes | bytearray) -> tuple[str, list[Buffer]]:
    """Split a message of the v1 protocol into its channel and its frames.

    data: count (u64 little-endian), that many u64 offsets from the start of the data, channel,
      header, parent_header, metadata, content, then any buffers; the last offset is the length. Large
      contents and buffers are returned as views.
    Raises MalformedMessage when the data is short, or an offset is out of order or outside.
    Source: v1.kernel.websocket.jupyter.org, documentation of Jupyter Server.
    """
    offsets = _read_offsets(data, _U64, fewest=6, kind="v1")
    size = len(data)
    if offsets[-1] != size:
        raise MalformedMessage("the offsets of a v1 frame do not span it")
    source = data if isinstance(data, bytes) and size < LARGE_BYTES else memoryview(data)
    pieces: list[Buffer] = [source[begin:end] for begin, end in pairwise(offsets)]
    if source is not data:
        pieces[:4] = map(bytes, pieces[:4])
        pieces[4:] = [piece if len(piece) >= LARGE_BYTES else bytes(piece) for piece in pieces[4:]]
    channel, *frames = pieces
    return _known_channel(bytes(channel)), frames


def decode_default(data: str | bytes | bytearray) -> tuple[str, list[Buffer], dict[str, Any]]:
    """Split a message of the default protocol into its channel, its frames, and its header, which had to be parsed.

    data: JSON text; or, binary: count (u32 big-endian), that many u32 offsets from the start of the
      data, JSON, buffers. A message without a channel is for shell.
    Raises MalformedMessage.
    Source: "Websocket Wire protocol" in the documentation of Jupyter Server.
    """
    buffers: list[Buffer] = []
    if isinstance(data, str):
        body = data.encode("utf-8", "surrogatepass")
    else:
        offsets = _read_offsets(data, _U32, fewest=1, kind="binary")
        view = memoryview(data)
        json_piece, *others = [view[begin:end] for begin, end in pairwise((*offsets, len(data)))]
        body = bytes(json_piece)
        buffers = [piece if len(piece) >= LARGE_BYTES else bytes(piece) for piece in others]
    message = load_object(body, "message")
    channel = message.get("channel") or "shell"
    if not isinstance(channel, str):
        raise MalformedMessage("channel is not a string")
    header = message.get("header")
    if not isinstance(header, dict):
        raise MalformedMessage("a message without a header")
    lease = getattr(data, "lease", None)
    frames: list[Buffer] = [dump_json(header)]
    for name in ("parent_header", "metadata", "content"):
        value = message.get(name)
        if value is None:
            frames.append(EMPTY_DICT)
        elif isinstance(value, dict):
            frames.append(_counted(dump_json(value), lease))
        else:
            raise MalformedMessage(f"{name} is not a JSON object")
    return _known_channel(channel.encode("utf-8", "replace")), frames + buffers, header


def _counted(frame: bytes, lease: Lease | None) -> Buffer:
    """A frame that was made from a client's message, counted with it as long as it is held."""
    if lease is None or len(frame) < LARGE_BYTES:
        return frame
    payload = Payload(frame)
    payload.lease = lease
    return memoryview(payload)


def _read_offsets(data: bytes | bytearray, number: struct.Struct, *, fewest: int, kind: str) -> tuple[int, ...]:
    """Read the table at the start of a binary message: a count, then that many offsets from the start of the data.

    number: the format of the count and of the offsets. fewest: the count of a message without buffers.
    kind: what the message is called in errors.
    Raises MalformedMessage unless the first offset is the end of the table and the others rise and stay within data.
    """
    size = len(data)
    if size < number.size:
        raise MalformedMessage(f"a {kind} frame of {size} bytes has no offset count")
    (count,) = number.unpack_from(data)
    if not fewest <= count <= fewest + _MAX_BUFFERS:
        raise MalformedMessage(f"a {kind} frame cannot have {count} offsets")
    start = number.size * (count + 1)
    if start > size:
        raise MalformedMessage(f"a {kind} frame of {size} bytes cannot hold {count} offsets")
    offsets = struct.unpack_from(f"{number.format[0]}{count}{number.format[1]}", data, number.size)
    if offsets[0] != start:
        raise MalformedMessage(f"the first offset of a {kind} frame does not follow the offsets")
    if offsets[-1] > size or any(map(gt, offsets, offsets[1:])):
        raise MalformedMessage(f"the offsets of a {kind} frame are out of order")
    return offsets


def _known_channel(channel: bytes) -> str:
    name = channel.decode("ascii", "replace")
    if name not in CHANNELS:
        raise MalformedMessage(f"unknown channel: {json.dumps(name[:40])}", 1003)
    return name
