"""Whether systemd, when it stops a server's unit, ends the keeper with it: it ends a whole control group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROC = Path("/proc")


def control_group(process: int | str) -> str:
    """The control group that systemd knows a process by, as a path; "" if that cannot be told. May block.

    process: its number, or `self`.
    """
    try:
        lines = (PROC / str(process) / "cgroup").read_text().splitlines()
    except OSError:
        return ""
    return parse_group(lines)


def parse_group(lines: list[str]) -> str:
    """The group from lines as in /proc/PID/cgroup, see cgroups(7)."""
    groups = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines if ":" in line)}
    return groups.get("name=systemd") or groups.get("", "")


def restart_warning(environ: Mapping[str, str], keeper_pid: int) -> str | None:
    """What a unit of systemd should be told whose server has its keeper in the same control group; else None.

    environ: the server's. May block, for a moment.
    """
    if not environ.get("INVOCATION_ID"):
        return None
    group = control_group("self")
    if not group or group.endswith(".scope") or control_group(keeper_pid) != group:
        return None
    return (
        f"The keeper is in this server's control group ({group}): `systemctl restart` ends the kernels, too, unless "
        "the unit has KillMode=process. See docs/keeping.md on systemd"
    )
