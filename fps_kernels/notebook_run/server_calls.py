"""The REST API of a Jupyter server, as far as a kernel for one notebook needs it. By the standard library alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from ..errors import BadOption, KernelStartFailed

CALL_TIMEOUT_S = 30.0
MAX_BYTES = 64 * 1024 * 1024
LOCAL_NAMES = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ""}
"""Names of this machine, of which a server's own list has one, and its user types another."""


class ServerRefused(KernelStartFailed):
    """A server answers with an error, or not at all; the message says how.

    answer: the status of its answer; None if there was none.
    """

    def __init__(self, message: str, answer: int | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ServerCalls:
    """Calls to one server.

    url: of the server, with its base URL; a token may be in its query, as in the URL that a server prints.
    token: "" to look for one in the query, and then in Jupyter's list of running servers.
    Raises BadOption for what is no URL.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._opener = urllib.request.build_opener(_NoRedirects)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadOption(f"--server={urlunsplit(parts._replace(query=''))}: not a URL such as http://127.0.0.1:8888")
        path = parts.path.removesuffix("/")
        for page in ("/lab", "/tree"):  # the URL of a page, as it is copied
            path = path.removesuffix(page)
        self.url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.token = token or parse_qs(parts.query).get("token", [""])[0] or _listed_token(self.url)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def channels_url(self, kernel_id: str, session: str) -> str:
        """Where the WebSocket of a kernel is."""
        return f"ws{self.url[4:]}/api/kernels/{quote(kernel_id)}/channels?session_id={session}"

    async def call(self, method: str, path: str, body: Any = None, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Call the API, and return what it answers, None for nothing. Raises ServerRefused."""
        return await asyncio.to_thread(self._call, method, path, body, timeout_s)

    def _call(self, method: str, path: str, body: Any, timeout_s: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                answer = response.read(MAX_BYTES)
            return json.loads(answer) if answer else None
        except HTTPError as exc:
            message = f"{self.url} answers {exc.code} {_reason(exc)}{self._hint(exc.code)}"
            raise ServerRefused(message, exc.code) from exc
        except (URLError, HTTPException, OSError, ssl.SSLError) as exc:
            reason = getattr(exc, "reason", exc)
            raise ServerRefused(f"{self.url} cannot be reached: {getattr(reason, 'strerror', None) or reason}") from exc
        except ValueError as exc:
            raise ServerRefused(f"{self.url} does not answer as a Jupyter server does") from exc

    def _hint(self, status: int) -> str:
        if status not in (302, 401, 403):
            return ""
        return ": its token is wrong" if self.token else ": it needs a token, see FPS_KERNELS_TOKEN"


def _reason(exc: HTTPError) -> str:
    """What a server says of an error, or else its status line."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        message = json.loads(exc.read(65_536)).get("message")
        if isinstance(message, str) and message:
            return message
    return str(exc.reason)


def _listed_token(url: str) -> str:
    """The token of a server of this user on this machine, from the files that such servers write; "" if there is none.

    A file counts only while its process runs: another user's server may have the port of one that was killed.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    for file in sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            info = json.loads(file.read_bytes())
            if _is_same(str(info["url"]), url) and info.get("token"):
                os.kill(int(info["pid"]), 0)
                return str(info["token"])
    return ""


def _is_same(one: str, other: str) -> bool:
    here, there = urlsplit(one), urlsplit(other)
    local = here.hostname in LOCAL_NAMES and there.hostname in LOCAL_NAMES
    return (
        (local or here.hostname == there.hostname)
        and here.port == there.port
        and here.path.rstrip("/") == there.path.rstrip("/")
    )
