"""input() in a cell that the server executes: who could answer, what is asked, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypedDict

EXPIRY_S = 90.0
"""A client that can answer says so again before that."""
MAX_CLIENTS = 1_000


class PendingModel(TypedDict):
    """An input request, as the REST API shows it."""

    request_id: str
    document_id: str
    cell_id: str
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True)
class PendingInput:
    """What the kernel asks for. header: of its input_request, the parent of the reply."""

    prompt: str
    password: bool
    header: bytes


class StdinClients:
    """The clients that can answer input requests of one kernel, until they leave or are not heard of any more."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        now = self._clock()
        self._until = {client: until for client, until in self._until.items() if until > now}
        return len(self._until)

    def register(self, client_id: str) -> None:
        self._until.pop(client_id, None)
        if len(self) >= MAX_CLIENTS:
            del self._until[next(iter(self._until))]
        self._until[client_id] = self._clock() + EXPIRY_S

    def remove(self, client_id: str) -> None:
        self._until.pop(client_id, None)
