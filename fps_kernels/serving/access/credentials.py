"""What a request may show to prove that it may come in: a token, or the word of a proxy. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from ..origin import RequestHeaders

SHORT_TOKEN_CHARS = 16
"""Fewer can be guessed, given time: 16 characters of 62 kinds are 95 bits."""
PROXY_SECRET_HEADER = "x-fps-kernels-proxy-secret"
"""The header in which a proxy shows the shared secret."""
TOKEN_PROTOCOL = "v1.token.websocket.jupyter.org"
"""The WebSocket subprotocol of clients that send a token as `v1.token.websocket.jupyter.org.TOKEN` (JupyterLab 4.4)."""
MAX_USER_CHARS = 256


@dataclass(frozen=True, slots=True)
class ProxyUsers:
    """A proxy that authenticates users and names them.

    header: the header with the user's name, in lower case.
    secret: what the proxy sends as `X-Fps-Kernels-Proxy-Secret`; without it the name is not believed.
    """

    header: str
    secret: str = field(repr=False)

    def user(self, headers: RequestHeaders) -> str | None:
        """The user whom the proxy names; None if there is none, or it was not the proxy who said so."""
        secrets = headers.getlist(PROXY_SECRET_HEADER)
        names = headers.getlist(self.header)
        if len(secrets) != 1 or len(names) != 1 or not same(secrets[0], self.secret):
            return None
        try:
            name = names[0].encode("latin-1").decode().strip()
        except UnicodeDecodeError:
            name = names[0].strip()
        return name if 0 < len(name) <= MAX_USER_CHARS and name.isprintable() else None


def token_in_query(query_string: bytes) -> str | None:
    """The value of the parameter `token`, even if it is empty; the last one counts. None without it."""
    query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
    return query["token"][-1] if "token" in query else None


def given_tokens(query_string: bytes, headers: RequestHeaders) -> list[str]:
    """The tokens that a request shows, those of headers as Latin-1. One in the URL wins, even if it is empty."""
    given = token_in_query(query_string)
    return list(_in_headers(headers)) if given is None else [given]


def _in_headers(headers: RequestHeaders) -> Iterator[str]:
    if authorization := headers.get("authorization"):
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() in ("token", "bearer"):
            yield given.strip(" \t")
    for value in headers.getlist("sec-websocket-protocol"):
        for protocol in value.split(","):
            if protocol.strip().startswith(f"{TOKEN_PROTOCOL}."):
                yield protocol.strip()[len(TOKEN_PROTOCOL) + 1 :]


def can_be_guessed(secret: str) -> bool:
    """Whether someone with time may guess a secret; "" is none."""
    return 0 < len(secret) < SHORT_TOKEN_CHARS


def same(given: str, secret: str) -> bool:
    """Whether a text from a request is a secret, compared in constant time.

    given: a decoded parameter, or a header as Latin-1. Headers have no charset of their own: curl sends that of its
      terminal, Tornado's client Latin-1.
    """
    expected = secret.encode(errors="surrogateescape")  # the bytes of the command line
    forms = [given.encode(errors="surrogateescape")]
    with suppress(UnicodeEncodeError):
        forms.append(given.encode("latin-1"))
    return any([hmac.compare_digest(form, expected) for form in forms])
