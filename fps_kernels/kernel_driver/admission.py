"""Which messages may go to a kernel on a client's behalf. Pure.

This is asked where messages leave for the kernel, so that it holds for every way there: WebSockets, cells that the
server executes, answers to input(), and widgets of shared documents. What the server asks a kernel by itself is exempt:
handshakes, shutdowns, interrupts, the preparation of kernels, and the operator's own code (seeds and notebook-http).
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import Forbidden
from .message import RequestHeader


class Admission:
    """The rules for the messages of clients.

    own_session: the client session of the server's own requests. Who could use it would be taken for the server, whose
      answers nobody else hears.
    """

    def __init__(self, own_session: str) -> None:
        self._own_session = own_session.encode()
        self._allowed: frozenset[str] | None = None

    def allow(self, msg_types: Collection[str] | None) -> None:
        """Let only these message types through. None means all, an empty collection none."""
        self._allowed = None if msg_types is None else frozenset(msg_types)

    def allows(self, msg_type: str) -> bool:
        """Whether messages of this type are let through."""
        return self._allowed is None or msg_type in self._allowed

    def check_type(self, msg_type: str) -> None:
        """Raises Forbidden."""
        if not self.allows(msg_type):
            raise Forbidden(f"Messages of type {msg_type[:100]} are not allowed here")

    def check(self, channel: str, header: RequestHeader) -> None:
        """Raises Forbidden."""
        self.check_type(header.msg_type)
        if channel == "stdin" and header.msg_type != "input_reply":
            # A kernel that waits for input takes whatever comes on stdin for the answer.
            raise Forbidden(f"Messages of type {header.msg_type[:100]} do not belong on stdin")
        if self._own_session in header.data:
            raise Forbidden("The session in the header is the server's own")
