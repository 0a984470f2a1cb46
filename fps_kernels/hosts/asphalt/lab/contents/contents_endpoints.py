"""`/api/contents`: the contents and checkpoints API, with the statuses and models of Jupyter Server.

What that answers 500 for a body that is wrong is 400 here, and an error is JSON throughout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from .....api.json_body import read_body
from .....errors import InvalidBody, InvalidField, NotFound
from .....json_model import Text, decode, finite
from .file_calls import FileCalls, Manager, Refused, check_regular
from .file_ids import FileIds
from .shared_files import SharedFiles

MAX_CONTENT_BYTES = 512 * 1024 * 1024
"""The largest body that Jupyter Server takes. JupyterLab uploads files in pieces of a MiB."""

TEXTS = ("path", "name", "type", "format", "ext", "copy_from")
"""The fields of a model that are strings, or missing, or null."""
KINDS = (None, "", "directory", "file", "notebook")
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_CHECKPOINT = re.compile(r"[\w-]+")

Model = dict[str, Any]


class ContentsEndpoints:
    """The endpoints of all files. They raise Refused, and the errors of bodies.

    base_url: the path that all paths begin with.
    """

    def __init__(self, calls: FileCalls, ids: FileIds, shared: SharedFiles, base_url: str) -> None:
        self._calls = calls
        self._ids = ids
        self._shared = shared
        self._base_url = base_url

    async def get(self, request: Request) -> Response:
        """A model, of a folder with those of what is in it."""
        path = _path(request)
        kind = _known(request.query_params.get("type"))
        file_format = request.query_params.get("format")
        if file_format not in (None, "text", "base64"):
            raise Refused(400, f"Format {file_format!r} is invalid")
        content, with_hash = (_flag(request, name, default) for name, default in (("content", "1"), ("hash", "0")))
        # When it opens a file, a page names type and format.
        of_page = kind is None and file_format is None and "mozilla" in request.headers.get("user-agent", "").lower()
        asks_before_saving = with_hash and not content and of_page

        def read(manager: Manager) -> Response:
            try:
                if not manager.allow_hidden and manager.is_hidden(path):
                    raise FileNotFoundError(errno.ENOENT, "hidden")
                model = manager.get(path, content=content, type=kind, format=file_format, require_hash=with_hash)
            except Exception as exc:
                if getattr(exc, "status_code", 0) == 404 or getattr(exc, "errno", None) in NO_FILE:
                    raise Refused(404, f"file or directory {path!r} does not exist") from exc
                raise
            if asks_before_saving:
                model = self._shared.for_page(path, model)
            return self._response(model, location=False)

        return await self._calls.run(read, path)

    async def post(self, request: Request) -> Response:
        """Make a file or a folder whose name the server chooses, or a copy of one."""
        path = _path(request)
        model = _model(await read_body(request)) or {}
        source = model.get("copy_from")

        def create(manager: Manager) -> Response:
            if manager.file_exists(path):
                raise Refused(400, "Cannot POST to files, use PUT instead.")
            if not source:
                made = manager.new_untitled(path, type=_known(model.get("type")) or "", ext=model.get("ext") or "")
                return self._response(made, 201)
            if not manager.allow_hidden and (manager.is_hidden(path) or manager.is_hidden(source)):
                raise Refused(400, f"Cannot copy file or directory {path!r}")
            return self._response(manager.copy(source, path), 201)

        return await self._calls.run(create, path, *([source] if source else []))

    async def put(self, request: Request) -> Response:
        """Save a file, or a piece of one, or make a folder."""
        path = _path(request)
        body = await read_body(request, MAX_CONTENT_BYTES)

        def save(manager: Manager) -> Response:
            model = _model(body)
            if not model:
                return self._response(manager.new_untitled(path), 201)
            if model.get("copy_from"):
                raise Refused(400, "Cannot copy with PUT, only POST")
            named = model.get("path")
            if not manager.allow_hidden and ((named and manager.is_hidden(named)) or manager.is_hidden(path)):
                raise Refused(400, f"Cannot create file or directory {path!r}")
            check_regular(manager, path)
            if "type" in model:
                model["type"] = _known(model["type"]) or model["type"]
            is_new = not manager.file_exists(path)
            if manager.dir_exists(path) and model.get("type") != "directory":
                raise Refused(400, f"{path} is a directory")
            _check_content(model, path)
            return self._response(manager.new(model, path) if is_new else manager.save(model, path), 200 + is_new)

        return await self._calls.run(save, path)

    async def patch(self, request: Request) -> Response:
        """Give a file or a folder another name, or place."""
        path = _path(request)
        model = _model(await read_body(request))
        if model is None:
            raise Refused(400, "JSON body missing")
        target = model.get("path") or path
        if not path.strip("/"):
            raise Refused(400, "The root cannot be renamed")

        def rename(manager: Manager) -> Response:
            if not manager.allow_hidden and (manager.is_hidden(path) or manager.is_hidden(target)):
                raise Refused(400, f"Cannot rename file or directory {path!r}")
            return self._response(manager.update({"path": target}, path))

        response = await self._calls.run(rename, path, target)
        self._ids.moved(path, target)
        return response

    async def delete(self, request: Request) -> Response:
        """Delete a file or a folder; where it can be done, it goes to the trash."""
        path = _path(request)

        def delete(manager: Manager) -> None:
            if not manager.allow_hidden and manager.is_hidden(path):
                raise Refused(400, f"Cannot delete file or directory {path!r}")
            manager.delete(path)

        await self._calls.run(delete, path)
        return Response(status_code=204)

    async def checkpoints(self, request: Request) -> Response:
        """The checkpoints of a file: one, or none."""
        path = _path(request)
        found = await self._calls.run(lambda manager: manager.list_checkpoints(path), path)
        return _json(found)

    async def create_checkpoint(self, request: Request) -> Response:
        """Keep the file as it is now."""
        path = _path(request)

        def create(manager: Manager) -> Model:
            check_regular(manager, path)
            made: Model = manager.create_checkpoint(path)
            return made

        made = await self._calls.run(create, path)
        return _json(made, 201, {"Location": f"{self._location(path)}/checkpoints/{quote(made['id'])}"})

    async def restore_checkpoint(self, request: Request) -> Response:
        """Make the file what it was."""
        path, checkpoint = _path(request), _checkpoint(request)

        def restore(manager: Manager) -> None:
            check_regular(manager, path)
            manager.restore_checkpoint(checkpoint, path)

        await self._calls.run(restore, path)
        return Response(status_code=204)

    async def delete_checkpoint(self, request: Request) -> Response:
        path, checkpoint = _path(request), _checkpoint(request)
        await self._calls.run(lambda manager: manager.delete_checkpoint(checkpoint, path), path)
        return Response(status_code=204)

    async def trust(self, request: Request) -> Response:
        """Sign a notebook, so that Jupyter's programs run what its outputs hold."""
        path = _path(request)

        def trust(manager: Manager) -> None:
            kind = manager.get(path, content=False)["type"]
            if kind == "directory":
                raise Refused(404, f"file or directory {path!r} is a directory")
            if kind != "notebook":
                raise InvalidBody(f"{path[:200]} cannot be trusted: it is not a notebook")
            manager.trust_notebook(path)

        await self._calls.run(trust, path)
        return Response(status_code=201)

    def _location(self, path: str) -> str:
        return f"{self._base_url}api/contents/{quote(path.strip('/'), errors='surrogateescape')}"

    def _response(self, model: Model, status: int = 200, *, location: bool = True) -> Response:
        headers = {"Location": self._location(model["path"])} if location else {}
        changed = model["last_modified"]
        if isinstance(changed, datetime):
            headers["Last-Modified"] = format_datetime(changed, usegmt=True)
        return _json(model, status, headers)


def _path(request: Request) -> str:
    path: str = request.path_params.get("path", "")
    return path.strip("/")


def _checkpoint(request: Request) -> str:
    """Raises NotFound for what no checkpoint is called, as the name of its file is made of it."""
    found: str = request.path_params["checkpoint_id"]
    if not _CHECKPOINT.fullmatch(found):
        raise NotFound(f"Checkpoint does not exist: {found[:100]}")
    return found


def _known(kind: Any) -> Any:
    """A type that the manager knows: others are files."""
    return kind if kind in KINDS else "file"


def _flag(request: Request, name: str, default: str) -> bool:
    """Raises Refused."""
    value = request.query_params.get(name, default)
    if value not in ("0", "1"):
        raise Refused(400, f"{name.capitalize()} {value!r} is invalid. It must be '0' or '1'")
    return value == "1"


def _model(body: bytes) -> Model | None:
    """The model in a body; None if there is none. Raises InvalidBody, InvalidField."""
    model = decode(body) if body.strip() else None
    if model is None:
        return None
    if not isinstance(model, dict):
        raise InvalidBody("The body is not a JSON object")
    for name in TEXTS:
        if model.get(name) is not None and not isinstance(model[name], str):
            raise InvalidField(name, "a string")
        if name in ("path", "copy_from") and "\0" in (model.get(name) or ""):
            raise InvalidField(name, Text.EXPECTED)
    if not isinstance(model.get("chunk"), int | None) or isinstance(model.get("chunk"), bool):
        raise InvalidField("chunk", "a number")
    return model


def _check_content(model: Model, path: str) -> None:
    """Raises InvalidField for a content that is not what its type says."""
    if "content" not in model or model.get("type") == "directory":
        return
    content = model["content"]
    if model.get("type") == "notebook" or ("type" not in model and path.endswith(".ipynb")):
        if not isinstance(content, dict) or not isinstance(content.get("nbformat"), int):
            raise InvalidField("content", "a notebook")
    elif not isinstance(content, str):
        raise InvalidField("content", "a string")


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response whose text is made here, in the thread of the call, as it may be large."""
    from jupyter_client.jsonutil import json_default

    try:
        text = json.dumps(value, default=json_default, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), default=json_default)
    body = text.encode()
    if status == 200:
        etag = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        headers = {**(headers or {}), "ETag": f'"{etag}"'}
    return Response(body, status, headers, "application/json")
