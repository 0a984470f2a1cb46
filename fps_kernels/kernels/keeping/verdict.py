"""What becomes of a kernel that a server finds in the store when it starts. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from ...store.model import KernelRow, Phase, Purpose

NEVER_READY = "The server ended before the kernel was ready"
MACHINE_RESTARTED = "Its machine was restarted"
DIED_MEANWHILE = "The kernel died while no server was running"
CANNOT_BE_REACHED = "The kernel could not be taken over by this server, and was ended"


class Verdict(Enum):
    """What is to be done with a kernel."""

    END = "end its process, if there is one, and forget it"
    ADOPT = "take it over if it runs"
    SHOW_DEAD = "show it as dead, as it was"


def verdict_of(row: KernelRow) -> Verdict:
    """What is to be done with a kernel whose server is gone."""
    if row.purpose is not Purpose.USER or row.phase is Phase.ENDING:
        return Verdict.END
    return Verdict.SHOW_DEAD if row.phase is Phase.DEAD else Verdict.ADOPT


def was_ready(row: KernelRow) -> bool:
    """Whether somebody may have used the kernel."""
    return row.generation > 1 or (row.generation == 1 and row.phase is not Phase.LAUNCHING)


def as_dead(row: KernelRow, reason: str) -> KernelRow:
    """A kernel that is dead, and can be restarted."""
    return replace(row, phase=Phase.DEAD, reason=reason, execution_state="dead")


def reason_of(row: KernelRow, *, same_boot: bool, runs: bool) -> str:
    """Why a kernel that could not be taken over is dead.

    same_boot: whether the machine of its process is this one, and was not started again.
    runs: whether its process is there.
    """
    if row.process is not None and not same_boot:
        return MACHINE_RESTARTED
    return CANNOT_BE_REACHED if runs else DIED_MEANWHILE
