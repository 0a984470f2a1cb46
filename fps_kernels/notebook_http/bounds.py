"""The bounds of a notebook's API that no option sets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Times and sizes within which a notebook answers its requests."""

    max_bodies_bytes: int = 512 * MIB
    """The bodies of all requests under way, together: a full queue of large ones would take more than a machine has."""
    body_grace_s: float = 30.0
    """Time for a body, whatever its size; what takes longer must come at a rate."""
    min_body_bytes_per_s: int = 8 * 1024
    """The least rate of a body on average: what its Content-Length says is kept from others until it has come."""
    max_refused_bytes: int = 128 * MIB
    """What is still received, and dropped, of a body that has been refused."""
    refused_s: float = 10.0
    """How long that may take."""
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
