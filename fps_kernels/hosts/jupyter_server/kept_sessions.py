"""The sessions of a Jupyter Server, which are written down for the next one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError

from ...kernels.keeping.kernel_record import text_of
from ...kernels.keeping.stored_keepsake import StoredKeepsake
from ...store.model import SessionRow
from .kernel_manager import http_errors

if TYPE_CHECKING:
    from jupyter_server.services.sessions.sessionmanager import SessionManager


class KeptSessions:
    """What is put on top of a manager of sessions, jupyter_server's own or one that somebody has configured."""

    kernel_manager: Any

    @property
    def _keepsake(self) -> StoredKeepsake | None:
        """Where sessions are written down; None if the kernels are not ours."""
        keepsake = getattr(getattr(self.kernel_manager, "keeping", None), "keepsake", None)
        return keepsake if isinstance(keepsake, StoredKeepsake) else None

    async def save_session(self, session_id: str, **values: Any) -> dict[str, Any]:
        """Make a session. Raises HTTPError when it cannot be written down."""
        await self._keep(session_id, values)
        model: dict[str, Any] = await super().save_session(session_id, **values)  # type: ignore[misc]
        return model

    async def update_session(self, session_id: str, **changes: Any) -> None:
        """Change a session. Raises HTTPError when that cannot be written down."""
        model = await self.get_session(session_id=session_id)  # type: ignore[attr-defined]  # of the class below
        values = {name: model[name] for name in ("path", "name", "type")} | {"kernel_id": model["kernel"]["id"]}
        await self._keep(session_id, values | changes)
        await super().update_session(session_id, **changes)  # type: ignore[misc]

    async def delete_session(self, session_id: str) -> None:
        """Forget a session, and end its kernel. Raises HTTPError when that cannot be written down."""
        await super().delete_session(session_id)  # type: ignore[misc]
        if (keepsake := self._keepsake) is not None:
            with http_errors():
                await keepsake.forget_session(session_id)

    async def restore(self, row: SessionRow) -> None:
        """Take in a session of a server before this one, unless it is there. Its kernel must be there."""
        try:
            await self.get_session(session_id=row.id)  # type: ignore[attr-defined]
        except HTTPError:
            values = {"path": row.path, "name": row.name or None, "type": row.type, "kernel_id": row.kernel_id}
            await super().save_session(row.id, **values)  # type: ignore[misc]

    async def _keep(self, session_id: str, values: dict[str, Any]) -> None:
        if (keepsake := self._keepsake) is not None:
            texts = {name: str(values.get(name) or "") for name in ("path", "name", "type", "kernel_id")}
            row = SessionRow(session_id, **texts, root=keepsake.replica.root, created_at=text_of(datetime.now(UTC)))
            with http_errors():
                await keepsake.keep_session(row)


def keeping_class(theirs: type[SessionManager]) -> type[SessionManager]:
    """A class of managers of sessions whose sessions are written down."""
    made: type[SessionManager] = type(theirs.__name__, (KeptSessions, theirs), {"__module__": theirs.__module__})
    return made
