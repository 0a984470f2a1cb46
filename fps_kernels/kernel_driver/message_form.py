"""The form in which clients can read what a kernel sends, and the repair of what has another one. Pure.

Front ends throw a message away, or fail, when a field of its header is missing or no string, when the parent_header is
null, or when a frame is not JSON. Kernels of all languages send such messages. What they mean is clear as a rule, so
the message is repaired before anything else sees it. Only what nobody could make sense of is malformed: a header that
is no JSON object or has no msg_type, and a content that is no JSON object, unless somebody waits for the message.

Reading a header into a struct takes 0.4 µs where a regular expression for its msg_type took 1.0, and checks it as well.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from ..errors import MalformedMessage
from .message import EMPTY_DICT, PROTOCOL_VERSION, Message, ParentHeader, dump_json

CHECKED_MAX_BYTES = 256 * 1024
"""Contents up to this size are checked to the end; of larger ones, only that they begin and end as an object."""


class _Header(msgspec.Struct, gc=False):
    """What must be in a header, and a string, for JupyterLab to take the message."""

    msg_id: str
    msg_type: str
    session: str
    username: str
    version: str


class _Object(msgspec.Struct, gc=False):
    """Any JSON object."""


_read_header = msgspec.json.Decoder(_Header).decode
_read_parent = msgspec.json.Decoder(ParentHeader).decode
_read_object = msgspec.json.Decoder(_Object).decode
_NO_PARENT = ParentHeader()
_UNREADABLE_PARENT = ParentHeader("\0")
"""Of a message that does say what caused it, but not so that anybody could read it: it answers nothing."""


class FormReader:
    """Reads the frames of one kernel's messages, and repairs them.

    on_repair(channel, what): told what was wrong with a message.

    kernel_session: the session in the kernel's headers, for a header without one.
    version: the version of the message spec that the kernel speaks, for a header without one; "" to leave it out.
    """

    def __init__(self, on_repair: Callable[[str, str], None]) -> None:
        self.kernel_session = ""
        self.version = PROTOCOL_VERSION
        self._on_repair = on_repair
        self._parent_frame = EMPTY_DICT
        self._parent = _NO_PARENT

    def read(self, channel: str, frames: list[bytes]) -> Message:
        """A message whose frames can be read by all; those that cannot are replaced in `frames`.

        frames: header, parent_header, metadata, content, then any buffers.
        Raises MalformedMessage.
        """
        header_frame, parent_frame, metadata, content = frames[:4]
        try:
            header = _read_header(header_frame)
            if parent_frame != self._parent_frame:  # all that one cell says has the same
                self._parent = _read_parent(parent_frame)
                self._parent_frame = parent_frame
                _check_text(parent_frame)
            if metadata != EMPTY_DICT:
                _check_object(metadata)
            if len(content) <= CHECKED_MAX_BYTES:
                _read_object(content)
            elif content[:1] != b"{" or content[-1:] != b"}":
                raise ValueError
            if not (content.isascii() and header_frame.isascii()):
                _check_text(content)
                _check_text(header_frame)
            if not header.msg_type:
                raise ValueError
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._repaired(channel, frames)
        return Message(channel, frames, header.msg_type, self._parent)

    def _repaired(self, channel: str, frames: list[bytes]) -> Message:
        msg_type = self._repair_header(channel, frames)
        self._parent_frame, self._parent = EMPTY_DICT, _NO_PARENT
        parent = self._repair_parent(channel, msg_type, frames)
        if not is_object(frames[2]):
            frames[2] = self._as_object(channel, "metadata", frames[2]) or EMPTY_DICT
        if not is_object(frames[3]):
            frames[3] = self._as_object(channel, "content", frames[3]) or _unreadable_content(msg_type)
        return Message(channel, frames, msg_type, parent)

    def _repair_header(self, channel: str, frames: list[bytes]) -> str:
        """The msg_type of the header, whose frame is replaced if need be. Raises MalformedMessage."""
        header = _lenient(frames[0], _with_replacements)
        if not isinstance(header, dict):
            raise MalformedMessage("header is not a JSON object")
        texts = {name: _as_text(header.get(name)) for name in _Header.__struct_fields__}
        repaired = {name: text for name, text in texts.items() if text is not None}
        if not repaired.get("msg_type") or "\ufffd" in repaired["msg_type"]:
            raise MalformedMessage("header has no msg_type")
        defaults = {"msg_id": uuid.uuid4().hex, "session": self.kernel_session, "username": "", "version": self.version}
        repaired = {name: text for name, text in defaults.items() if text or name != "version"} | repaired
        wrong = [name for name, text in repaired.items() if header.get(name) != text]
        if wrong or not is_object(frames[0]):
            self._on_repair(channel, f"header: {', '.join(sorted(wrong)) or 'encoding'}")
            frames[0] = dump_json(header | repaired)
        return repaired["msg_type"]

    def _repair_parent(self, channel: str, msg_type: str, frames: list[bytes]) -> ParentHeader:
        """What the parent_header says; its frame is replaced if it is no JSON object.

        Raises MalformedMessage when it cannot be read where it decides what the message is good for.
        """
        if not is_object(frames[1]):
            if frames[1].strip() and _lenient(frames[1]) is None and frames[1] != b"null":
                if channel != "iopub" or msg_type == "status":
                    raise MalformedMessage("parent_header is not valid JSON")
                frames[1] = EMPTY_DICT
                self._on_repair(channel, "parent_header is not valid JSON")
                return _UNREADABLE_PARENT
            frames[1] = self._as_object(channel, "parent_header", frames[1]) or EMPTY_DICT
        parent = _lenient(frames[1]) or {}
        texts = {name: _as_text(parent.get(name)) for name in ParentHeader.__struct_fields__}
        return ParentHeader(**{name: text for name, text in texts.items() if text is not None})

    def _as_object(self, channel: str, name: str, frame: bytes) -> bytes | None:
        """The frame as JSON that all can read; None when it is no object whatever is tried."""
        value = _lenient(frame, _with_replacements)
        self._on_repair(channel, f"{name} is not a JSON object in UTF-8")
        return dump_json(value) if isinstance(value, dict) else None


def _check_text(frame: bytes) -> None:
    """Raises UnicodeDecodeError when the frame is not UTF-8."""
    if not frame.isascii():
        frame.decode()


def _check_object(frame: bytes) -> None:
    """Raises ValueError or msgspec.MsgspecError when the frame is not a JSON object in UTF-8."""
    if len(frame) <= CHECKED_MAX_BYTES:
        _read_object(frame)
    elif frame[:1] != b"{" or frame[-1:] != b"}":
        raise ValueError
    _check_text(frame)


def is_object(frame: bytes) -> bool:
    """Whether all clients can read the frame, as a JSON object."""
    try:
        _check_object(frame)
    except msgspec.MsgspecError:
        return b"\\ud" in frame.lower() and isinstance(_strict(frame), dict)  # a lone surrogate, which msgspec refuses
    except RecursionError:
        return True  # too deep to be looked into; clients may have more patience
    except ValueError:
        return False
    return True


def _strict(frame: bytes) -> Any:
    """The value of JSON as the standard has it; None for anything else."""
    try:
        return json.loads(frame.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _lenient(frame: bytes, *more: Callable[[bytes], str]) -> Any:
    """The value of what is nearly JSON: in UTF-16, with NaN or with raw control characters; None for anything else.

    more: how else its text may be had.
    """
    for decode in (_as_json_may_be, *more):
        try:
            return json.loads(decode(frame), strict=False, parse_constant=_null, parse_float=_finite)
        except (ValueError, RecursionError):
            continue
    return None


def _as_json_may_be(frame: bytes) -> str:
    return frame.decode(json.detect_encoding(frame), "surrogatepass")


def _with_replacements(frame: bytes) -> str:
    return frame.decode("utf-8", "replace")


def _null(_: str) -> None:
    """NaN and infinity, which JSON does not have, as JavaScript writes them."""
    return None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if isfinite(value) else None


def _as_text(value: Any) -> str | None:
    """A scalar as a string; None for anything else."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (int, float)) else None


def _unreadable_content(msg_type: str) -> bytes:
    """What stands in for a content that nobody can read, where somebody waits for the message.

    Raises MalformedMessage where nobody does.
    """
    if msg_type.endswith("_reply"):
        error = {"ename": "MalformedMessage", "evalue": "The kernel's reply could not be read", "traceback": []}
        return dump_json({"status": "error", **error})
    if msg_type == "input_request":
        return dump_json({"prompt": "", "password": False})
    raise MalformedMessage(f"the content of a message of type {msg_type[:100]} is not a JSON object")
