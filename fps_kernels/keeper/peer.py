"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct


def peer_uid(sock: socket.socket) -> int:
    """The user of the process at the other end; our own where that cannot be told."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # macOS: the folder and the mode of the socket keep others out
        return os.geteuid()
    credentials = sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def is_own(sock: socket.socket) -> bool:
    """Whether it is this user, or root."""
    return peer_uid(sock) in (os.geteuid(), 0)
