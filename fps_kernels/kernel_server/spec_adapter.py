"""Translation between the clients' major version of the message spec and a kernel's.

jupyter_client's adapter does the work. Only the default protocol uses it, whose messages are JSON anyway; v1 passes
messages through as bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ..kernel_driver.message import PROTOCOL_VERSION, Buffer, dump_json, load_object, utc_now

logger = logging.getLogger(__name__)

_NAMES = ("header", "parent_header", "metadata", "content")


class Adapter:
    """A translator for one kernel. A message that it does not understand passes unchanged."""

    def __init__(self, kernel_major: int) -> None:
        from jupyter_client.adapter import adapt

        self._adapt = adapt
        self._kernel_major = kernel_major
        self._failed = False

    @classmethod
    def for_kernel(cls, kernel_info: Mapping[str, Any]) -> Self | None:
        """The adapter that a kernel needs by its kernel_info_reply; None when it needs none."""
        major = _major(kernel_info.get("protocol_version"))
        return None if major in (None, _CLIENT_MAJOR) else cls(major)

    def from_kernel(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Translate the frames of a message from the kernel for a client."""
        return self._translate(frames, _CLIENT_MAJOR)

    def to_kernel(self, frames: Sequence[Buffer]) -> Sequence[Buffer]:
        """Translate the frames of a message from a client for the kernel."""
        return [*self._translate([bytes(frame) for frame in frames[:4]], self._kernel_major), *frames[4:]]

    def _translate(self, frames: Sequence[bytes], major: int) -> Sequence[bytes]:
        try:
            message = {name: load_object(bytes(part), name) for name, part in zip(_NAMES, frames, strict=False)}
            message["header"].setdefault("date", utc_now())  # the one that the adapter sets is not JSON
            adapted = self._adapt(message, major)
            return [*(dump_json(adapted[name]) for name in _NAMES), *frames[4:]]
        except Exception as exc:  # the adapter expects every key of the spec
            logger.log(
                logging.DEBUG if self._failed else logging.WARNING,
                "a message could not be adapted to version %d of the message spec: %r",
                major,
                exc,
            )
            self._failed = True
            return frames


def _major(version: object) -> int | None:
    """The major number of "5.4", or of [4, 1] as in version 4; None for anything else."""
    first = version[0] if isinstance(version, list) and version else str(version).split(".")[0]
    return int(first) if str(first).isdecimal() else None


_CLIENT_MAJOR = int(PROTOCOL_VERSION.split(".")[0])
