"""Connection files: where a kernel listens, and the keys to talk to it."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import KernelFailure
from ..private_files import NotRegular, problem_of, read_regular
from .signer import Signer

CHANNEL_NAMES = ("shell", "iopub", "stdin", "control", "hb")
"""The channels of a kernel."""
MAX_FILE_BYTES = 65_536
"""The largest connection file that is read; they have some hundred bytes."""
MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""The length of the longest path of a socket that the system takes."""
_CURVE_KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # 32 bytes in Z85, ZeroMQ RFC 32


def new_socket_prefix(folder: Path) -> str:
    """What the paths of a kernel's ipc sockets begin with: shorter than the kernel's id, as the space is small."""
    return str(folder.absolute() / f"ipc-{secrets.token_hex(4)}")


def socket_path_bytes(folder: Path) -> int:
    """How long the path of a kernel's ipc socket in the folder is."""
    return len(os.fsencode(f"{new_socket_prefix(folder)}-5"))


class InvalidConnection(KernelFailure):
    """A file or a dict that should be connection info is not valid; the message says what is wrong."""


class IncompleteConnection(InvalidConnection):
    """A connection file is not valid JSON, perhaps because it is being written."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Where a kernel listens, and how its messages are signed and encrypted.

    transport: `tcp` or `ipc`.
    ip: the address, or the prefix of the paths of ipc sockets.
    ports: the ports of all five channels, by name.
    key: the key of the signatures; empty for none.
    signature_scheme: the hash of the signatures, see Signer.
    curve_publickey, curve_secretkey: the CurveZMQ keys as Z85; None when the connection is not encrypted.
    """

    transport: str
    ip: str
    ports: Mapping[str, int]
    key: bytes = field(repr=False)
    signature_scheme: str
    kernel_name: str = ""
    curve_publickey: bytes | None = field(default=None, repr=False)
    curve_secretkey: bytes | None = field(default=None, repr=False)

    def url(self, channel: str) -> str:
        """The ZMQ endpoint of a channel."""
        separator = ":" if self.transport == "tcp" else "-"
        return f"{self.transport}://{self.ip}{separator}{self.ports[channel]}"

    def signer(self) -> Signer:
        """A signer with the connection's key and scheme."""
        return Signer(self.key, self.signature_scheme)

    @classmethod
    def from_dict(cls, info: Mapping[str, Any]) -> ConnectionInfo:
        """Check connection info from a file or from a provisioner.

        Raises InvalidConnection, naming the field that is missing or wrong.
        """
        ports = {}
        for channel in CHANNEL_NAMES:
            port = info.get(f"{channel}_port")
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65_536:
                raise InvalidConnection(f"{channel}_port is not a port")
            ports[channel] = port
        transport = info.get("transport", "tcp")
        if transport not in ("tcp", "ipc"):
            raise InvalidConnection("transport is neither tcp nor ipc")
        ip = info.get("ip")
        if not isinstance(ip, str) or not ip or not ip.isprintable():
            raise InvalidConnection("ip is not an address")
        scheme = info.get("signature_scheme", "hmac-sha256")
        # Half a pair must not end in a connection without encryption.
        encrypted = info.get("curve_publickey") or info.get("curve_secretkey")
        result = cls(
            transport=transport,
            ip="127.0.0.1" if ip in ("0.0.0.0", "*") else ip,
            ports=ports,
            key=_as_bytes(info, "key") or b"",
            signature_scheme=scheme,
            kernel_name=info["kernel_name"] if isinstance(info.get("kernel_name"), str) else "",
            curve_publickey=_curve_key(info, "curve_publickey") if encrypted else None,
            curve_secretkey=_curve_key(info, "curve_secretkey") if encrypted else None,
        )
        try:
            result.signer()
        except (ValueError, TypeError, AttributeError) as exc:
            raise InvalidConnection("signature_scheme is unknown") from exc
        return result

    @classmethod
    def from_file(cls, path: Path) -> ConnectionInfo:
        """Read a connection file; blocking.

        Raises IncompleteConnection when it is not (yet) whole; InvalidConnection when it is no connection file, and
        when others can write to it or it is a link, which others may have made.
        """
        try:
            status, data = read_regular(path, MAX_FILE_BYTES)
        except NotRegular as exc:
            raise InvalidConnection("is not a regular file") from exc
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise InvalidConnection("is a link") from exc
            raise InvalidConnection(f"cannot be read: {exc.strerror}") from exc
        if problem := problem_of(status):
            raise InvalidConnection(problem)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidConnection(f"is larger than {MAX_FILE_BYTES} bytes")
        try:
            info = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise IncompleteConnection("is not valid JSON") from exc
        if not isinstance(info, dict):
            raise InvalidConnection("is not a JSON object")
        return cls.from_dict(info)


def _as_bytes(info: Mapping[str, Any], name: str) -> bytes | None:
    value = info.get(name)
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidConnection(f"{name} is not a string")
    try:
        return value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidConnection(f"{name} is not valid text") from exc


def _curve_key(info: Mapping[str, Any], name: str) -> bytes:
    key = _as_bytes(info, name)
    if not key or not _CURVE_KEY.fullmatch(key):
        raise InvalidConnection(f"{name} is not a CURVE key")
    return key
