"""Tells whoever supervises this process that it is ready: systemd's protocol, see sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"
"""The variable with the path of a datagram socket; one that begins with @ is in no folder."""


def notify_ready(environ: MutableMapping[str, str]) -> None:
    """Say so, if somebody wants to know. The variable is taken out of the environment."""
    where = environ.pop(VARIABLE, "")
    if not where.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"READY=1", b"\0" + os.fsencode(where[1:]) if where[0] == "@" else where)
        except OSError as exc:
            logger.warning("%s=%s: %s", VARIABLE, where, exc.strerror)
