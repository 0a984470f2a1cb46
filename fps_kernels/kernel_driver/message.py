"""Jupyter messages as frames: split them, and look into their headers without parsing. Pure.

Content and buffers are never touched. Source: "Messaging in Jupyter", the wire protocol.

A message on ZMQ is `[*idents, b"<IDS|MSG>", signature, header, parent_header, metadata, content, *buffers]`. Here the
*frames* of a message are those after the signature.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import msgspec

from ..errors import MalformedMessage
from .header import DELIMITER as DELIMITER
from .header import Buffer as Buffer
from .header import load_object as load_object
from .header import peek_msg_id as peek_msg_id
from .header import peek_msg_type as peek_msg_type
from .header import peek_session as peek_session
from .request_log import Request

PROTOCOL_VERSION = "5.4"
"""The version of the messaging protocol that our own messages have."""
EMPTY_DICT = b"{}"


class ParentHeader(msgspec.Struct, gc=False):
    """What a message says of the request that caused it; "" for what it does not say."""

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    subshell_id: str | None = None


class Message:
    """A message from a kernel; nothing more is parsed before it is asked for.

    channel: the channel it came on.
    frames: its frames, as bytes, except that large buffers are views of libzmq's memory.
    msg_type, parent: what was read of its headers already.
    request: the request that a reply or an input request belongs to, if that is remembered.
    """

    __slots__ = ("_msg_type", "_parent", "channel", "frames", "request")

    def __init__(
        self, channel: str, frames: list[bytes], msg_type: str | None = None, parent: ParentHeader | None = None
    ) -> None:
        self.channel = channel
        self.frames = frames
        self.request: Request | None = None
        self._msg_type = msg_type
        self._parent = parent

    @property
    def msg_type(self) -> str:
        """The msg_type; "" when the header has none. Raises MalformedMessage."""
        if self._msg_type is None:
            self._msg_type = peek_msg_type(self.frames[0])
        return self._msg_type

    @property
    def parent(self) -> ParentHeader:
        """What it says of the request that it answers. Raises MalformedMessage."""
        if self._parent is None:
            frame = self.frames[1]
            self._parent = ParentHeader(peek_msg_id(frame), peek_msg_type(frame), peek_session(frame))
        return self._parent

    @property
    def parent_msg_id(self) -> str:
        """The msg_id of the request that this message answers; "" when there is none."""
        return self.parent.msg_id

    @property
    def parent_session(self) -> str:
        """The client session of the request that this message answers; "" when there is none."""
        return self.parent.session

    def set_parent(self, header: bytes, parent: ParentHeader) -> None:
        """Give it the parent header that the kernel has left out."""
        self.frames[1] = header
        self._parent = parent

    @property
    def header(self) -> dict[str, Any]:
        """The header, parsed. Raises MalformedMessage."""
        return load_object(self.frames[0], "header")

    @property
    def parent_header(self) -> dict[str, Any]:
        """The parent_header, parsed. Raises MalformedMessage."""
        return load_object(self.frames[1], "parent_header")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, parsed. Raises MalformedMessage."""
        return load_object(self.frames[2], "metadata")

    @property
    def content(self) -> dict[str, Any]:
        """The content, parsed. Raises MalformedMessage."""
        return load_object(self.frames[3], "content")

    @property
    def buffers(self) -> list[bytes]:
        """The buffers, copied to bytes."""
        return [bytes(buffer) for buffer in self.frames[4:]]


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """The header of a request, read once on its way in.

    data: the header itself, as JSON.
    written: as its sender wrote it, when that was no header that kernels can read: with a msg_id that is no string,
      for example.
    """

    msg_id: str
    msg_type: str
    data: bytes
    written: bytes | None = None

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read the header in a frame. Raises MalformedMessage."""
        return cls(peek_msg_id(data), peek_msg_type(data), data)


def with_msg_id(header: bytes, msg_id: Any) -> bytes:
    """The header with another msg_id. Raises MalformedMessage."""
    return dump_json(load_object(header, "header") | {"msg_id": msg_id})


def split_frames(frames: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Split the frames of a ZMQ message into the signature and the frames after it.

    Raises MalformedMessage when the delimiter or one of the five frames after it is missing.
    """
    try:
        index = frames.index(DELIMITER)
    except ValueError as exc:
        raise MalformedMessage("a message without the delimiter <IDS|MSG>") from exc
    if len(frames) - index < 6:
        raise MalformedMessage(f"a message with {len(frames) - index - 1} frames after the delimiter, not 5")
    return frames[index + 1], frames[index + 2 :]


def dump_json(value: Any) -> bytes:
    """A value as compact JSON, in ASCII, so that lone surrogates from JavaScript survive."""
    return json.dumps(value, separators=(",", ":")).encode()


def utc_now() -> str:
    """The current time as the messaging protocol and our REST models write it: UTC, microseconds, Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_header(msg_type: str, session: str, username: str = "") -> dict[str, str]:
    """A new header with a new msg_id, which begins with the session: some kernels give back nothing else."""
    return {
        "msg_id": f"{session}_{uuid.uuid4().hex}",
        "msg_type": msg_type,
        "username": username,
        "session": session,
        "date": utc_now(),
        "version": PROTOCOL_VERSION,
    }


def make_frames(
    msg_type: str,
    content: dict[str, Any],
    session: str,
    parent_header: bytes = EMPTY_DICT,
) -> list[bytes]:
    """The frames of a new message without metadata and buffers."""
    return [dump_json(make_header(msg_type, session)), parent_header, EMPTY_DICT, dump_json(content)]
