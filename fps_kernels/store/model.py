"""The rows of the store, and how they become what SQL takes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from ..process_mark import ProcessMark

SQLValue = str | bytes | int | None


class Purpose(StrEnum):
    """What a kernel is for. Only those of users go on after the end of their server."""

    USER = "user"
    POOL = "pool"
    """One that is kept ready, and that nobody has asked for yet."""
    WARM = "warm"
    """One that the server started for itself, as for a notebook that answers HTTP requests."""


class Phase(StrEnum):
    """Where a kernel is in its life; what is not finished is written down before it begins."""

    LAUNCHING = "launching"
    RUNNING = "running"
    RESTARTING = "restarting"
    ENDING = "ending"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Launched:
    """What a kernel was launched with, for its next process, and what is secret about it.

    The environment of the server is not in it: the next process gets that of the server that launches it.

    cwd: the folder of its first process.
    path: the notebook or folder that it is for, relative to the root of the server.
    environ: what its request wanted to set, before the server's rules.
    extra_env: what takes precedence over the server's environment and the kernelspec's.
    kernelspec: kernel.json as it was, and `resource_dir`; empty before the first launch.
    encryption, transport: see LaunchOptions.
    startup_timeout_s: how long it may take to answer.
    connection_file: where its connection file is, which has its key; empty before the first launch.
    identity, kernel_session: whose the connection is, for whoever takes it over.
    """

    cwd: str = ""
    path: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    kernelspec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    encryption: str = "auto"
    transport: str = "tcp"
    startup_timeout_s: float = 60.0
    connection_file: str = ""
    identity: str = ""
    kernel_session: str = ""

    def to_bytes(self) -> bytes:
        """All of it as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse. Fields that we do not know, as a later version may have, are left out.

        Raises ValueError.
        """
        values = json.loads(data)
        if not isinstance(values, dict):
            raise ValueError("not an object")
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


@dataclass(frozen=True, slots=True)
class KernelRow:
    """What is known of a kernel.

    replica: the server whose it is, or was.
    keeper_id: the keeper that holds it; empty for none.
    root: the root folder of its server: its path counts from there.
    generation: how many processes it has had.
    reason: why it is dead or being restarted.
    provisioner: what launched it; empty for processes of this machine.
    process: the one that runs, or ran last; None if it is not known.
    execution_state, last_activity: as they were some seconds ago.
    """

    id: str
    name: str
    replica: str = ""
    root: str = ""
    purpose: Purpose = Purpose.USER
    keeper_id: str = ""
    generation: int = 0
    phase: Phase = Phase.LAUNCHING
    reason: str = ""
    provisioner: str = ""
    process: ProcessMark | None = None
    launched: Launched = field(default_factory=Launched, repr=False)
    created_at: str = ""
    last_activity: str = ""
    execution_state: str = "starting"

    def values(self) -> dict[str, SQLValue]:
        """The values of the columns."""
        return {
            "id": self.id,
            "name": self.name,
            "replica": self.replica,
            "root": self.root,
            "purpose": self.purpose.value,
            "keeper_id": self.keeper_id,
            "generation": self.generation,
            "phase": self.phase.value,
            "reason": self.reason,
            "provisioner": self.provisioner,
            "process": None if self.process is None else json.dumps(self.process.to_json()),
            "sealed": self.launched.to_bytes(),
            "created_at": self.created_at,
            "last_activity": self.last_activity,
            "execution_state": self.execution_state,
        }

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """A row from the values of KERNEL_COLUMNS. Raises ValueError, TypeError."""
        found = dict(zip(KERNEL_COLUMNS, values, strict=True))
        process, sealed = found.pop("process"), found.pop("sealed")
        found["purpose"], found["phase"] = Purpose(found["purpose"]), Phase(found["phase"])
        return cls(
            **found,
            process=None if process is None else ProcessMark.from_json(json.loads(process)),
            launched=Launched.from_bytes(sealed),
        )


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of the REST API: see kernels.sessions.Session."""

    id: str
    path: str
    name: str
    type: str
    kernel_id: str
    root: str = ""
    created_at: str = ""

    def values(self) -> dict[str, SQLValue]:
        """The values of the columns."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A server that has written to the store.

    process: by which it can be seen whether it lives.
    address: where it serves, for people.
    """

    id: str
    process: ProcessMark | None
    version: str = ""
    address: str = ""
    root: str = ""
    started_at: str = ""

    def values(self) -> dict[str, SQLValue]:
        """The values of the columns."""
        process = None if self.process is None else json.dumps(self.process.to_json())
        return {**asdict(self), "process": process}

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """A row from the values of REPLICA_COLUMNS. Raises ValueError, TypeError."""
        found = dict(zip(REPLICA_COLUMNS, values, strict=True))
        process = found.pop("process")
        return cls(**found, process=None if process is None else ProcessMark.from_json(json.loads(process)))


KERNEL_COLUMNS = tuple(KernelRow("", "").values())
SESSION_COLUMNS = tuple(SessionRow("", "", "", "", "").values())
REPLICA_COLUMNS = tuple(ReplicaRow("", None).values())
