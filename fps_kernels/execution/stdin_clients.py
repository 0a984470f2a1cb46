"""input() in a cell that the server executes: the clients that could answer, and the question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypedDict

EXPIRY_S = 90.0
"""Time after which a client that has not registered again is forgotten."""
MAX_CLIENTS = 1_000
"""Clients of one kernel that are remembered."""


class PendingModel(TypedDict):
    """An input request, as the REST API shows it."""

    request_id: str
    document_id: str
    cell_id: str
    prompt: str
    password: bool


@dataclass(frozen=True, slots=True)
class PendingInput:
    """A question of the kernel. header: the header of its input_request, which is the parent of the reply."""

    prompt: str
    password: bool
    header: bytes


Client = tuple[str, str]
"""A client: its user, "" where all are one, and the id that it chose, which is no proof of anything by itself."""


class StdinClients:
    """The clients that can answer input requests of one kernel, until they leave or fall silent.

    max_clients: the number of clients that are remembered; the one that has been silent for longest goes first.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, max_clients: int = MAX_CLIENTS) -> None:
        self._clock = clock
        self._max_clients = max_clients
        self._until: dict[Client, float] = {}

    def __len__(self) -> int:
        now = self._clock()
        self._until = {client: until for client, until in self._until.items() if until > now}
        return len(self._until)

    def register(self, client_id: str, user: str = "") -> None:
        client = user, client_id
        self._until.pop(client, None)
        if len(self) >= self._max_clients:
            del self._until[next(iter(self._until))]
        self._until[client] = self._clock() + EXPIRY_S

    def remove(self, client_id: str, user: str = "") -> None:
        self._until.pop((user, client_id), None)
