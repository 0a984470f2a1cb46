"""The endpoints about sessions: which notebook, console or file has which kernel."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..errors import InvalidBody, InvalidKernelId
from ..kernels.registry import KernelRegistry
from ..kernels.sessions import KernelChoice, SessionModel, SessionStore
from .json_body import JSONBody, read_json
from .kernel_endpoints import SAFE_KERNEL_ID, check_may_list
from .responses import json_response


class SessionEndpoints:
    """`/api/sessions`."""

    def __init__(self, registry: KernelRegistry, sessions: SessionStore, base_url: str) -> None:
        self._registry = registry
        self._sessions = sessions
        self._base_url = base_url

    async def all(self) -> Response:
        check_may_list(self._registry)
        return json_response([self._sessions.model(session) for session in self._sessions.list()])

    async def create(self, request: Request) -> Response:
        model = await self.create_model(request)
        return json_response(model, 201, {"Location": f"{self._base_url}api/sessions/{model['id']}"})

    async def create_model(self, request: Request) -> SessionModel:
        """Create the session that a request asks for."""
        body = await read_json(request)
        if body is None:
            raise InvalidBody("No JSON data provided")
        notebook = body.child("notebook")  # the form of notebook < 4.3
        kind: str | None
        if notebook is not None:
            path = notebook.text("path") or notebook.required_text("name")
            kind = "notebook"
        else:
            path = body.required_text("path")
            kind = body.required_text("type")
        choice = _kernel_choice(body.child("kernel"))
        if choice.id is not None and choice.id not in self._registry and not SAFE_KERNEL_ID.fullmatch(choice.id):
            raise InvalidKernelId(f"Invalid kernel id: {choice.id[:100]}")
        session = await self._sessions.create(path, body.text("name") or "", kind, choice)
        return self._sessions.model(session)

    async def one(self, session_id: str) -> Response:
        return json_response(self._sessions.model(self._sessions.get(session_id)))

    async def change(self, request: Request, session_id: str) -> Response:
        return json_response(await self.change_model(request, session_id))

    async def change_model(self, request: Request, session_id: str) -> SessionModel:
        """Change a session as a request asks for."""
        self._sessions.get(session_id)
        body = await read_json(request)
        if body is None:
            raise InvalidBody("No JSON data provided")
        if body.text("id") not in (None, session_id):
            raise InvalidBody("id in the body is not that of the URL")
        path = body.text("path")
        notebook = body.child("notebook")
        if path is None and notebook is not None:
            path = notebook.text("path")
        kernel = body.child("kernel")
        session = await self._sessions.change(
            session_id,
            path=path,
            name=body.text("name"),
            kind=body.text("type"),
            choice=None if kernel is None else _kernel_choice(kernel),
        )
        return self._sessions.model(session)

    async def delete(self, session_id: str) -> Response:
        await self._sessions.delete(session_id)
        return Response(status_code=204)


def _kernel_choice(kernel: JSONBody | None) -> KernelChoice:
    if kernel is None:
        return KernelChoice(named=True)
    return KernelChoice(kernel.text("id") or None, kernel.text("name") or None, "name" in kernel)
