"""The layer around everything that a server of ours serves: no plugin's route or WebSocket is reached but through it.

What it asks, in this order: by which name is the server called (Host); which page makes the request (Origin,
Sec-Fetch-Site); what does it show (a token, a proxy's word, a cookie); and, where a browser shows that by itself, did a
page of ours make it (XSRF). What may pass is decided in access_policy.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..identity import USER_KEY
from ..json_responses import error_response
from ..log_context import note_user
from ..trusted_proxy import PEER_KEY, RECEIVED_HOST_KEY
from .access_policy import AccessPolicy, Ask, Grant, Refusal, includes_answer, needs_xsrf
from .browser_login import BrowserLogin
from .credentials import PROXY_SECRET_HEADER, same
from .guesses import Guessing, Source
from .login_cookie import cookies_of
from .refusal_log import RefusalLog
from .xsrf import has_xsrf, missing_xsrf

GRANTED_KEY = "fps_kernels.granted"
"""The key of an ASGI scope that tells a layer's inside whether a request may come in, where `enforce` is False."""
CSP_REPORT = "/api/security/csp-report"
"""The end of the path to which a browser sends reports, without an XSRF token. They change nothing."""
NO_XSRF = "The XSRF token is missing: send the cookie _xsrf again as X-XSRFToken"
TOO_MANY = "Too many wrong tokens or passwords from this address: try again in a minute"
WRONG_PROXY_SECRET = "X-Fps-Kernels-Proxy-Secret is wrong: the proxy has to send what proxy_secret_file has"


class AccessLayer:
    """Middleware that lets in whoever the policy lets in.

    login: for browsers; None where there are only programs.
    enforce: whether a request without credentials is answered here. If not, the scope says whether it has them, and
      the routes inside answer, which know the paths that do not exist; only who wants a page is led to its login.
    open_paths: paths that everyone may read who shows nothing, as monitors and JupyterHub do; by name and origin only.
    log: counts what is refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: AccessPolicy,
        login: BrowserLogin | None = None,
        *,
        enforce: bool = True,
        open_paths: Collection[str] = (),
        log: RefusalLog | None = None,
    ) -> None:
        self._app = app
        self._policy = policy
        self._login = login
        self._enforce = enforce
        self._open_paths = open_paths
        self._log = log or RefusalLog()
        self._guesses = Guessing()
        self._proxy_guesses = Guessing()  # apart: what strangers try by way of the proxy must not shut it out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_websocket = scope["type"] == "websocket"
        method = "GET" if is_websocket else scope["method"]
        raw_path = scope.get("raw_path")
        target = quote(scope["path"]) if raw_path is None else raw_path.decode("latin-1")
        ask = Ask(
            method,
            scope["path"],
            target,
            scope["scheme"],
            headers,
            scope["query_string"],
            is_websocket,
            scope.get(RECEIVED_HOST_KEY),
        )
        outcome = await self._judge(ask, scope, receive)
        if isinstance(outcome, Refusal):
            self._log.refused(scope, outcome.status, outcome.why)
            outcome = error_response(outcome.status, outcome.message)
        if isinstance(outcome, Response):
            await outcome(scope, receive, send)
            return
        scope = self._inner_scope(scope, outcome)
        await self._app(scope, receive, send if is_websocket else self._with_xsrf(ask, send))

    async def _judge(self, ask: Ask, scope: Scope, receive: Receive) -> Grant | Response | Refusal | None:
        """What a request gets: None if it shows nothing, and others answer that."""
        if (refusal := self._policy.refusal(ask)) is not None:
            return refusal
        headers = ask.headers
        login = self._login if self._login is not None and self._login.concerns(ask) else None
        if login is not None and login.answers(ask):
            return await self._answer_login(login, ask, scope, receive)
        grant = await self._grant(ask, scope)
        if isinstance(grant, Refusal):
            return grant
        if self._policy.comes_from_elsewhere(ask):
            if login is not None:
                return login.pass_on(ask, grant)
            if not self._policy.closed and self._policy.local_names is not None:
                return Refusal(self._policy.foreign_status, "Not found", "a link of another site")
        if grant is None:
            if ask.path in self._open_paths and ask.is_read and not any(self._policy.shown_tokens(ask)):
                return Grant()
            if login is not None and ask.wants_page:
                return login.ask_for_login(ask)
            if not self._enforce:
                return None
            return Refusal(401, "Log in, or send the token: Authorization: token …", "no token, or a wrong one")
        by_url = not grant.ambient and "token" in _names(ask)
        if login is not None and by_url and (ask.wants_page or login.is_page(ask)):
            return login.enter(ask, grant)
        if (page := includes_answer(ask, grant, self._policy.origins)) is not None:
            return Refusal(403, "Cross origin request refused: set allow_origin", page)
        is_report = ask.path.endswith(CSP_REPORT)
        if needs_xsrf(ask, grant) and not is_report and not has_xsrf(cookies_of(headers), headers, ask.query_string):
            return Refusal(403, NO_XSRF, "no XSRF token")
        return grant

    async def _grant(self, ask: Ask, scope: Scope) -> Grant | Refusal | None:
        policy, source = self._policy, _source(scope)
        if (refusal := await self._check_proxy_secret(ask, scope)) is not None:
            return refusal
        if self._login is not None and policy.closed and (grant := self._login.grant(ask)) is not None:
            by_token = policy.grant(ask)  # more than a cookie: it needs no XSRF token
            return by_token if by_token is not None and not by_token.ambient else grant
        if not any(policy.shown_tokens(ask)):
            return policy.grant(ask)
        if not self._guesses.may_guess(source):
            return Refusal(429, TOO_MANY, "too many wrong guesses")
        if (grant := policy.grant(ask)) is None:
            await _hold_back(self._guesses, source)
        return grant

    async def _check_proxy_secret(self, ask: Ask, scope: Scope) -> Refusal | None:
        """Refuse, late, whoever pretends to be the proxy, whatever else they show."""
        if not (shown := self._policy.shown_proxy_secrets(ask)):
            return None
        address, connected = _source(scope)
        peer = (address if connected is None else connected), None  # whoever guesses this can write any header
        if not self._proxy_guesses.may_guess(peer):
            return Refusal(429, TOO_MANY, "too many wrong secrets of a proxy")
        if any([same(one, self._policy.proxy_secret) for one in shown]):
            return None
        await _hold_back(self._proxy_guesses, peer)
        return Refusal(401, WRONG_PROXY_SECRET, "a wrong secret of a proxy")

    async def _answer_login(self, login: BrowserLogin, ask: Ask, scope: Scope, receive: Receive) -> Response | Refusal:
        if login.is_logout(ask):
            return login.log_out(ask) if ask.method in ("GET", "POST") else error_response(405, "Only GET and POST")
        request = Request(scope, receive)
        if ask.method in ("GET", "HEAD"):
            return login.form(ask, request.query_params.get("next", ""))
        if ask.method != "POST":
            return error_response(405, "Only GET and POST", {"Allow": "GET, HEAD, POST"})
        fields = await login.read_form(request)
        if isinstance(fields, Response):
            return fields
        next_path = fields.get("next", "")
        if not login.form_is_ours(ask, fields):
            return login.form(ask, next_path, "The page was too old. Try again.", 403)
        source = _source(scope)
        if not self._guesses.may_guess(source):
            return login.form(ask, next_path, TOO_MANY, 429)
        with self._guesses.held_back(source):
            is_right = await login.is_right(fields.get("secret", ""))
        if is_right:
            return login.logged_in(ask, next_path)
        self._log.refused(scope, 401, "a wrong password or token in the form")
        await _hold_back(self._guesses, source)
        return login.form(ask, next_path, login.wrong_secret, 401)

    def _inner_scope(self, scope: Scope, grant: Grant | None) -> Scope:
        """The scope for the inside: with the user, and without what only a proxy may tell."""
        scope = {name: value for name, value in scope.items() if name not in (USER_KEY, GRANTED_KEY)}
        if self._policy.proxy is not None:
            hidden = (PROXY_SECRET_HEADER.encode(), self._policy.proxy.header.encode())
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in hidden]
        scope[GRANTED_KEY] = grant is not None
        if grant is not None and grant.user:
            scope[USER_KEY] = grant.user
            note_user(grant.user)
        return scope

    def _with_xsrf(self, ask: Ask, send: Send) -> Send:
        """A `send` that gives a browser its XSRF token with the first page that it loads."""
        if (self._login is None and self._policy.proxy is None) or ask.method != "GET":
            return send
        if (header := missing_xsrf(cookies_of(ask.headers), secure=ask.secure)) is None:
            return send

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("Set-Cookie", header)
            await send(message)

        return send_with_cookie


def _names(ask: Ask) -> list[str]:
    """The names of a request's parameters."""
    return [part.partition("=")[0] for part in ask.query_string.decode("latin-1").split("&")]


def _source(scope: Scope) -> Source:
    return str((scope.get("client") or ("",))[0]), scope.get(PEER_KEY)


async def _hold_back(guesses: Guessing, source: Source) -> None:
    """Note a wrong guess, and wait before it is answered."""
    delay_s = guesses.failed(source, time.monotonic())
    with guesses.held_back(source):
        await asyncio.sleep(delay_s)
