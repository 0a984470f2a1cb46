"""The endpoints about sessions: which notebook, console or file has which kernel."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from ..errors import InvalidBody, InvalidKernelId
from ..json_model import Text
from ..kernel_driver.own_connection_file import SAFE_KERNEL_ID
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import KernelChoice, SessionModel, SessionStore
from .host import Host
from .json_body import read_model, required_text, text
from .kernel_endpoints import check_may_list
from .responses import json_response

CONTROL = {"kernels": ["write"]}
"""What a request for a session needs besides where it starts a kernel, ends one, or ties its life to the session."""


class KernelBody(msgspec.Struct, frozen=True):
    """The kernel of a session in a body."""

    id: Text | None = None
    name: Text | UnsetType | None = UNSET

    def choice(self) -> KernelChoice:
        name = None if self.name is UNSET else self.name
        return KernelChoice(self.id or None, name or None, self.name is not UNSET)


class Notebook(msgspec.Struct, frozen=True):
    """A notebook's path, in the form of notebook < 4.3. Its fields are checked only where they count."""

    path: Any = None
    name: Any = None


class NewSession(msgspec.Struct, frozen=True):
    """The body of a request that creates a session. `path` and `type` are checked only where there is no `notebook`."""

    path: Any = None
    type: Any = None
    name: Text | None = None
    kernel: KernelBody | None = None
    notebook: Notebook | None = None


class SessionChange(msgspec.Struct, frozen=True):
    """The body of a request that changes a session: what it does not name stays as it is."""

    id: Text | None = None
    path: Text | None = None
    type: Text | None = None
    name: Text | None = None
    kernel: KernelBody | None = None
    notebook: Notebook | None = None


class SessionEndpoints:
    """`/api/sessions`."""

    def __init__(self, registry: KernelRegistry, sessions: SessionStore, host: Host) -> None:
        self._registry = registry
        self._sessions = sessions
        self._host = host

    async def all(self) -> Response:
        check_may_list(self._registry)
        return json_response([self._sessions.model(session) for session in self._sessions.list()])

    async def create(self, request: Request) -> Response:
        model = await self.create_model(request)
        return json_response(model, 201, {"Location": f"{self._host.base_url}api/sessions/{model['id']}"})

    async def create_model(self, request: Request) -> SessionModel:
        """Create the session that a request asks for."""
        body = await read_model(request, NewSession, required=True)
        if body.notebook is not None:
            path = text(body.notebook.path, "notebook.path") or required_text(body.notebook.name, "notebook.name")
            kind = "notebook"
        else:
            path = required_text(body.path, "path")
            kind = required_text(body.type, "type")
        choice = KernelChoice(named=True) if body.kernel is None else body.kernel.choice()
        if choice.id is not None and choice.id not in self._registry and not SAFE_KERNEL_ID.fullmatch(choice.id):
            raise InvalidKernelId(f"Invalid kernel id: {choice.id[:100]}")
        may_control = await self._host.may(request, CONTROL)
        session = await self._sessions.create(
            path, body.name or "", kind, choice, may_control=may_control, at_once=self._host.at_once(request, None)
        )
        return self._sessions.model(session)

    async def one(self, session_id: str) -> Response:
        return json_response(self._sessions.model(self._sessions.get(session_id)))

    async def change(self, request: Request, session_id: str) -> Response:
        return json_response(await self.change_model(request, session_id))

    async def change_model(self, request: Request, session_id: str) -> SessionModel:
        """Change a session as a request asks for."""
        self._sessions.get(session_id)
        body = await read_model(request, SessionChange, required=True)
        if body.id not in (None, session_id):
            raise InvalidBody("id in the body is not that of the URL")
        path = body.path
        if path is None and body.notebook is not None:
            path = text(body.notebook.path, "notebook.path")
        session = await self._sessions.change(
            session_id,
            path=path,
            name=body.name,
            kind=body.type,
            choice=None if body.kernel is None else body.kernel.choice(),
            may_control=await self._host.may(request, CONTROL),
            at_once=self._host.at_once(request, None),
        )
        return self._sessions.model(session)

    async def delete(self, request: Request, session_id: str) -> Response:
        await self._sessions.delete(session_id, may_control=await self._host.may(request, CONTROL))
        return Response(status_code=204)
