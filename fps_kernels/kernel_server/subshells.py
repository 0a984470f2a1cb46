"""Requests to subshells that are gone: many kernels drop them without a word, and their clients would wait for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import FPSKernelsError, MalformedMessage, SubshellGone
from ..kernel_driver.client import KernelClient
from ..kernel_driver.message import load_object
from ..kernel_driver.request_log import Request
from ..tasks import TaskSet

logger = logging.getLogger(__name__)

LIST_TIMEOUT_S = 10.0
"""Seconds that a kernel has to list its subshells; one that has none does not answer, and runs the request itself."""
GRACE_S = 1.0
"""Seconds that a kernel has to answer by itself, as ipykernel does since 7.4."""


class Subshells:
    """Answers the requests that name a subshell which the kernel does not have.

    The kernel is asked, as others may have made and deleted subshells, and a restart ends them all.

    tasks: where the questions run; closed by the owner of the kernel.
    answer(request, error): answers a request in the kernel's place.
    """

    def __init__(
        self, client: KernelClient, tasks: TaskSet, answer: Callable[[Request, FPSKernelsError], None]
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._answer = answer
        self._waiting: dict[Request, str] = {}
        self._ask_again = False
        self._asking: asyncio.Task[None] | None = None

    def on_sent(self, request: Request) -> None:
        """A request of a client was sent on shell."""
        if b'"subshell_id"' not in request.header:
            return
        try:
            subshell_id = load_object(request.header, "header").get("subshell_id")
        except MalformedMessage:  # as its sender wrote it
            return
        if isinstance(subshell_id, str) and subshell_id:
            self._waiting[request] = subshell_id
            self.ask()

    def ask(self) -> None:
        """Ask the kernel for its subshells if a request waits for one, as after one was deleted."""
        self._waiting = {one: name for one, name in self._waiting.items() if not one.replied}
        if not self._waiting:
            return
        if self._asking is not None and not self._asking.done():
            self._ask_again = True
            return
        self._asking = self._tasks.start(self._ask(), name=f"subshells of {self._client.kernel_id}")

    async def _ask(self) -> None:
        self._ask_again = True
        while self._ask_again:
            self._ask_again = False
            asked = dict(self._waiting)
            try:
                reply = await self._client.request("control", "list_subshell_request", timeout_s=LIST_TIMEOUT_S)
                there = reply.content.get("subshell_id")
            except FPSKernelsError as exc:
                logger.debug("kernel %s does not list its subshells: %s", self._client.kernel_id, exc)
                return
            if not isinstance(there, list):
                return
            gone = {one: name for one, name in asked.items() if name not in there}
            if gone:
                await asyncio.sleep(GRACE_S)
            for request, name in gone.items():
                self._waiting.pop(request, None)
                if not (request.replied or request.begun):
                    self._answer(request, SubshellGone(name))
                    request.replied = request.idle = True
