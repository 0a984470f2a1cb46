"""Logins of browsers: the form, the cookie, and the token in a URL that becomes a cookie."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs, quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..json_responses import error_response
from .access_policy import AccessPolicy, Ask, Grant
from .credentials import same
from .login_cookie import LoginCookies, cookies_of
from .login_page import POLICY, TOKEN_HINT, local_path, logged_out, login_form, step, without_token
from .password_hash import password_matches
from .xsrf import COOKIE, has_xsrf, make_xsrf, set_xsrf_header

MAX_FORM_BYTES = 16_384
FORM_TIMEOUT_S = 10.0
MAX_FORM_FIELDS = 10
PAGES = ("", "lab", "doc", "tree", "notebooks", "consoles", "edit", "terminals")
"""What the paths of pages begin with, below the base URL."""
PASSWORDS_AT_A_TIME = 2
"""Each takes 32 MiB of memory, and a core for a tenth of a second."""


class BrowserLogin:
    """How browsers come in, and stay.

    cookies: makes and checks the cookies.
    base_url: the path that the server's paths begin with, escaped as in a URL.
    home: the page after a login that was not on the way to another one.
    name: what the pages of the login call the place that they lead to.

    token_hint: where users find the token, in words.
    """

    token_hint = TOKEN_HINT

    def __init__(
        self, policy: AccessPolicy, cookies: LoginCookies, base_url: str, home: str, name: str = "JupyterLab"
    ) -> None:
        self._policy = policy
        self._cookies = cookies
        self._home = home
        self._name = name
        self._base_url = base_url
        self._login_path = f"{base_url}login"
        self._logout_path = f"{base_url}logout"
        self._checking = asyncio.Semaphore(PASSWORDS_AT_A_TIME)

    def concerns(self, ask: Ask) -> bool:
        """Whether a request is one for which there are pages. All have to do with a cookie, if they send one."""
        return True

    def answers(self, ask: Ask) -> bool:
        """Whether a request is for a page of the login itself; these need no credentials."""
        return not ask.is_websocket and ask.path in (unquote(self._login_path), unquote(self._logout_path))

    def grant(self, ask: Ask) -> Grant | None:
        """What the cookie of a request lets in."""
        value = self._cookie(ask)
        user = None if value is None else self._cookies.user(value, time.time())
        return None if user is None else Grant(user, ambient=True)

    def is_page(self, ask: Ask) -> bool:
        """Whether a request is for a page of JupyterLab, also of a client that takes anything."""
        if ask.is_websocket or ask.method != "GET" or "sec-fetch-dest" in ask.headers:
            return False
        rest = ask.path.removeprefix(unquote(self._base_url))
        return rest.partition("/")[0] in PAGES and "*/*" in (ask.headers.get("accept") or "*/*")

    def enter(self, ask: Ask, grant: Grant) -> Response:
        """The answer to a page's URL with a token: the same without it, and a cookie if it is the right one."""
        response = RedirectResponse(without_token(ask.target, ask.query_string), 302)
        if self._policy.earns_cookie(grant):
            self._log_in(response, ask)
        return response

    def pass_on(self, ask: Ask, grant: Grant | None) -> Response:
        """The answer to a link of another site: a page that leads on, and a cookie if the link had the right token."""
        response = _page(step(without_token(ask.target, ask.query_string), self._name))
        if grant is not None and self._policy.earns_cookie(grant):
            self._log_in(response, ask)
        return response

    def ask_for_login(self, ask: Ask) -> Response:
        """The answer to a page's URL that may not come in: the way to the form, which knows where it was to lead."""
        target = without_token(ask.target, ask.query_string)
        return RedirectResponse(f"{self._login_path}?next={quote(target, safe='/')}", 302)

    async def read_form(self, request: Request) -> dict[str, str] | Response:
        """The fields of the form, the first of each name; an error if it is too large, too slow or no form."""
        body = b""
        try:
            async with asyncio.timeout(FORM_TIMEOUT_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        return error_response(413, "The form is too large")
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except TimeoutError:
            return error_response(408, "The form did not come in time")
        except ValueError:  # not UTF-8, or too many fields
            return error_response(400, "Not a form of ours")
        return {name: values[0] for name, values in fields.items()}

    def form(self, ask: Ask, next_path: str = "", error: str = "", status: int = 200) -> Response:
        """The page with the form."""
        xsrf = cookies_of(ask.headers).get(COOKIE) or make_xsrf()
        uses_password = bool(self._policy.password_hash)
        page = login_form(
            self._login_path,
            local_path(next_path, self._home),
            xsrf,
            password=uses_password,
            error=error,
            name=self._name,
            hint=self.token_hint,
        )
        response = _page(page, status)
        response.headers.append("Set-Cookie", set_xsrf_header(xsrf, secure=ask.secure))
        return response

    def form_is_ours(self, ask: Ask, fields: dict[str, str]) -> bool:
        """Whether the form was sent by our page: no other site may log its own account in."""
        return has_xsrf(cookies_of(ask.headers), ask.headers, b"", fields.get(COOKIE))

    async def is_right(self, secret: str) -> bool:
        """Whether it is the password or the token."""
        if self._policy.token and same(secret, self._policy.token):
            return True
        if not self._policy.password_hash:
            return False
        async with self._checking:
            return await asyncio.to_thread(password_matches, secret, self._policy.password_hash)

    @property
    def wrong_secret(self) -> str:
        """What a user is told who has typed another one."""
        return "Wrong password." if self._policy.password_hash else "Wrong token."

    def logged_in(self, ask: Ask, next_path: str) -> Response:
        """The answer to the right password."""
        response = RedirectResponse(local_path(next_path, self._home), 303)
        self._log_in(response, ask)
        return response

    def log_out(self, ask: Ask) -> Response:
        if (value := self._cookie(ask)) is not None and self._cookies.user(value, time.time()) is not None:
            self._cookies.log_out(value)
        response = _page(logged_out(self._login_path))
        response.headers.append("Set-Cookie", self._cookies.clear_header(secure=ask.secure))
        return response

    def is_logout(self, ask: Ask) -> bool:
        return ask.path == unquote(self._logout_path)

    def _log_in(self, response: Response, ask: Ask) -> None:
        value = self._cookies.make("", time.time())
        response.headers.append("Set-Cookie", self._cookies.set_header(value, secure=ask.secure))
        response.headers["Cache-Control"] = "no-store"

    def _cookie(self, ask: Ask) -> str | None:
        return cookies_of(ask.headers).get(self._cookies.name(secure=ask.secure))


class PageLogin(BrowserLogin):
    """The login for one page, of a server that is for programs otherwise.

    page: the path of the page, escaped as in a URL.
    """

    token_hint = "It is the one that programs show to this server."

    def __init__(self, policy: AccessPolicy, cookies: LoginCookies, base_url: str, page: str, name: str) -> None:
        super().__init__(policy, cookies, base_url, page, name)
        self._page = unquote(page)

    def concerns(self, ask: Ask) -> bool:
        return self.answers(ask) or (ask.path == self._page and not ask.is_websocket)

    def is_page(self, ask: Ask) -> bool:
        return False  # a program may have it by its token


def _page(text: str, status: int = 200) -> Response:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "same-origin",  # with no-referrer, the form would not tell its Origin
    }
    return HTMLResponse(text, status, headers)
