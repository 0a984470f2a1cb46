"""The input requests of a kernel that is kept. Pure."""

from __future__ import annotations

from ..kernel_server.client_session import SessionKey
from ..kernel_server.prompts import Prompts


class KeptPrompts(Prompts):
    """The input requests, of which some may have been made and answered under an earlier server."""

    def answer_of(self, session_id: str) -> None:
        """An earlier server has passed on the answer of a session."""
        for prompt in self._prompts:
            if prompt.key[1] == session_id and prompt.waits:
                self._prompts.remove(prompt)
                return

    def waits_for(self, key: SessionKey) -> bool:
        """Whether an answer of this session is waited for."""
        return any(prompt.key == key and prompt.waits for prompt in self._prompts)
