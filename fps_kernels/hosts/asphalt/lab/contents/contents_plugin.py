"""The files of a lab as other plugins of Jupyverse find them, and their routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from jupyverse_api import Router
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.auth.models import User
from jupyverse_api.contents import Contents
from jupyverse_api.contents.models import Checkpoint, Content, SaveContent

from .....api.responses import Handler, json_response, respond, security_headers
from .contents_endpoints import ContentsEndpoints
from .file_calls import FileCalls, Manager, Refused
from .file_ids import FileIds
from .shared_files import SharedFiles

READ, WRITE = {"contents": ["read"]}, {"contents": ["write"]}


class HashedContent(Content):
    """A model with what JupyterLab tells by whether a file has changed."""

    hash: str | None = None
    hash_algorithm: str | None = None


class _Contents(Contents):
    """The contents of a Jupyverse: what its plugins get when they ask for `Contents`.

    base_url: the path that all paths begin with.
    """

    def __init__(self, app: App, auth: Auth, calls: FileCalls, ids: FileIds, base_url: str) -> None:
        Router.__init__(self, app)  # not Contents.__init__, which has routes of its own
        self._calls = calls
        self._ids = ids
        self._shared = SharedFiles()
        self._endpoints = ContentsEndpoints(calls, ids, self._shared, base_url)
        self.include_router(api_router(self._endpoints, auth, base_url))  # type: ignore[no-untyped-call]

    @property
    def file_id_manager(self) -> FileIds:
        return self._ids

    @property
    def page_values(self) -> dict[str, bool]:
        """What JupyterLab's page is told of the files, by its names: what it offers and how it asks depend on it."""
        options = self._calls.traits
        return {
            "allow_hidden_files": options.get("allow_hidden", False),
            "delete_to_trash": options.get("delete_to_trash", True),
        }

    async def read_content(self, path: str | Path, get_content: bool, file_format: str | None = None) -> HashedContent:
        """The model of a file for a shared document. Raises Refused.

        file_format: "json" for a notebook, "text" or "base64".
        """
        name = str(path)
        kind = None if not get_content or file_format is None else "notebook" if file_format == "json" else "file"

        def read(manager: Manager) -> dict[str, Any]:
            is_file = manager.file_exists(name)
            found = manager.get(
                name,
                content=get_content,
                type=kind,
                format=file_format if kind == "file" else None,
                require_hash=is_file,
            )
            return _plain(found)

        if path is None:  # what the plugin for shared documents asks for when an id is not known
            raise Refused(404, "There is no such file")
        return HashedContent(**await self._calls.run(read, name))

    async def write_content(self, content: SaveContent | dict[str, Any]) -> None:
        """Save a shared document to its file, as nbformat writes it if it is a notebook. Raises Refused."""
        await self.write_and_hash(content)

    async def write_and_hash(self, content: SaveContent | dict[str, Any]) -> str:
        """`write_content`; returns the hash of what was written, which another program may have replaced by now."""
        model = content.model_dump() if isinstance(content, SaveContent) else dict(content)
        path = str(model["path"])
        text = model["content"]
        if model["type"] != "notebook":
            model["type"] = "file"  # the plugin's types are of documents
        if isinstance(text, bytes):
            model["content"] = text.decode("ascii") if model["format"] == "base64" else text.decode()

        def save(manager: Manager) -> str:
            if not manager.file_exists(path):  # renamed just now, when the old file must not come back, or a pipe
                raise Refused(404, f"{path} has gone")
            manager.save({name: model[name] for name in ("type", "format", "content")}, path)
            written = str(manager.written_hash())
            self._shared.in_step(path, written)
            return written

        written = await self._calls.run(save, path)
        await self._ids.written(path)
        return written

    def in_step(self, path: str, digest: str) -> None:
        """A shared document holds what is in the file with this hash."""
        self._shared.in_step(path, digest)

    # What follows are the other abstract methods of jupyverse's `Contents`. They do what its routes of the same names
    # promise, for the user who is given; our own routes do not call them.

    async def get_root_content(self, content: int, user: User) -> Content:
        return await self.read_content("", bool(content))

    async def get_content(self, path: str, content: int, user: User) -> Content:
        return await self.read_content(path, bool(content))

    async def create_content(self, path: str | None, request: Request, user: User) -> Content:
        return _content(await self._endpoints.post(request))

    async def save_content(self, path: str, request: Request, response: Response, user: User) -> Content:
        return _content(await self._endpoints.put(request))

    async def rename_content(self, path: str, request: Request, user: User) -> Content:
        return _content(await self._endpoints.patch(request))

    async def delete_content(self, path: str, user: User) -> None:
        await self._calls.run(lambda manager: manager.delete(path), path)

    async def create_checkpoint(self, path: str, user: User) -> Checkpoint:
        made = await self._calls.run(lambda manager: manager.create_checkpoint(path), path)
        return Checkpoint(**_plain(made))

    async def get_checkpoint(self, path: str, user: User) -> list[Checkpoint]:
        found = await self._calls.run(lambda manager: manager.list_checkpoints(path), path)
        return [Checkpoint(**_plain(one)) for one in found]


def _content(response: Response) -> Content:
    return HashedContent(**json.loads(bytes(response.body)))


def _plain(model: dict[str, Any]) -> dict[str, Any]:
    """A model as it comes out of JSON: without the classes of nbformat, and with dates as texts."""
    from jupyter_client.jsonutil import json_default

    plain: dict[str, Any] = json.loads(json.dumps(model, default=json_default))
    return plain


def api_router(endpoints: ContentsEndpoints, auth: Auth, base_url: str) -> APIRouter:
    """The routes, of which the longer ones come first: a path may have slashes."""
    router = APIRouter()
    security = security_headers(base_url)
    file, checkpoint = "/api/contents/{path:path}", "/api/contents/{path:path}/checkpoints/{checkpoint_id}"

    def add(method: str, path: str, handler: Handler) -> None:
        permission = Depends(auth.current_user(permissions=READ if method == "GET" else WRITE))
        router.add_api_route(
            path,
            _answer(handler, security),
            methods=[method],
            dependencies=[permission],
            response_model=None,
            name=handler.__name__,
        )

    add("POST", checkpoint, endpoints.restore_checkpoint)
    add("DELETE", checkpoint, endpoints.delete_checkpoint)
    add("GET", f"{file}/checkpoints", endpoints.checkpoints)
    add("POST", f"{file}/checkpoints", endpoints.create_checkpoint)
    add("POST", f"{file}/trust", endpoints.trust)
    for path in (file, "/api/contents"):
        add("GET", path, endpoints.get)
        add("POST", path, endpoints.post)
        add("PUT", path, endpoints.put)
        add("PATCH", path, endpoints.patch)
        add("DELETE", path, endpoints.delete)
    return router


def _answer(handler: Handler, security: dict[str, str]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def checked(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as exc:  # in the form of Jupyter Server
            return json_response({"message": exc.detail, "reason": exc.reason}, exc.status_code)

    async def answer(request: Request) -> Response:
        return await respond(checked, request, security)

    return answer
