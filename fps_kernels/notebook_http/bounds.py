"""The bounds of a notebook's API that no option sets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Times and sizes within which a notebook answers its requests."""

    max_body_bytes: int = 100 * MIB
    """The largest body of a request: what Kernel Gateway takes, by a default of Tornado's."""
    max_bodies_bytes: int = 512 * MIB
    """The bodies of all requests under way, together: a full queue of large ones would take more than a machine has."""
    max_unsent_bytes: int = 16 * MIB
    """Output that waits for a client that reads its stream slowly; with more, the cell is interrupted."""
    keep_alive_s: float = 15.0
    """Silence after which an event stream sends a comment: proxies close idle connections, many after 60 seconds."""
    idle_timeout_s: float = 5.0
    """Wait for a kernel's idle after its reply: a kernel that forgets to send it must not block its next request."""
    stop_timeout_s: float = 5.0
    """Wait for the end of a cell after its interrupt; then its kernel is replaced."""
    restart_timeout_s: float = 120.0
    """Wait for a kernel that died to be restarted and seeded; then it is replaced."""
    replace_delays_s: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30)
    """Delays between attempts to start a kernel in place of a lost one; the last delay repeats."""
