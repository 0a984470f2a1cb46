"""The input requests of a kernel that wait for an answer, and who may answer them. Pure.

A kernel takes whatever comes on stdin for the answer to what it asked last: it looks neither at the parent header nor
at the session of an input_reply. So it is the server that sees to it that nobody answers what somebody else was asked.
What a cell of a shared document asks is none of these: it is answered over REST.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ..kernel_driver.request_log import Request
from .client_session import ClientSession, SessionKey

MAX_PROMPTS = 100
"""Input requests that are remembered; of more, the oldest are forgotten. A kernel has one, or one for each subshell."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """An input request.

    key: the session that was asked.
    replied: whether the request that caused it had its reply already, as when a thread of its cell asks.
    """

    key: SessionKey
    request: Request | None
    replied: bool

    @property
    def waits(self) -> bool:
        """Whether an answer is waited for: with the reply of its cell the question is over."""
        return self.request is None or self.replied or not self.request.replied


class Prompts:
    """All input requests of one kernel that were not answered."""

    def __init__(self) -> None:
        self._prompts: deque[Prompt] = deque(maxlen=MAX_PROMPTS)

    def ask(self, session: ClientSession, request: Request | None) -> None:
        """The kernel asks the session."""
        self._prompts.append(Prompt(session.key, request, request is not None and request.replied))

    def answer(self, session: ClientSession) -> bool:
        """The session answers: returns whether it was asked. Each question is answered once."""
        for prompt in self._prompts:
            if prompt.waits and prompt.key == session.key:
                self._prompts.remove(prompt)
                return True
        return False

    def clear(self) -> None:
        """Nothing waits for answers any more."""
        self._prompts.clear()
