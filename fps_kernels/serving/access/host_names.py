"""The names by which a server on this machine may be called. Pure.

A site can have its own name resolve to 127.0.0.1 (DNS rebinding). For a browser, its pages are then of the server's
origin. What the browser still sends is that name, as Host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:/@\s]*))(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class LocalNames:
    """The names that may stand in a header Host: those of the loopback interface, and listed ones.

    listed: in lower case, without ports.
    """

    listed: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, names: Iterable[str]) -> LocalNames:
        """The names of an option, with or without brackets around IPv6 addresses."""
        return cls(frozenset(name.strip().strip("[]").rstrip(".").lower() for name in names) - {""})

    def allows(self, host: str | None) -> bool:
        """Whether a Host may call the server. Browsers always send one; a monitor with HTTP/1.0 may not."""
        if host is None:
            return True
        name = name_of(host)
        return name == "localhost" or name in self.listed or is_loopback(name)


def name_of(host: str) -> str:
    """The name or address in a Host, in lower case, without port, brackets and the last dot; "" if it has none."""
    found = _HOST.fullmatch(host.strip().lower())
    return "" if found is None else (found["v6"] or found["name"].removesuffix("."))


def is_loopback(address: str) -> bool:
    """Whether it is an address of the loopback interface, also as IPv4 in IPv6. A name is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback
