"""What must never be shown in a log: known secrets, however they are spelled, and whatever a name says is one. Pure.

Both are needed. Values find the token wherever a client puts it: in a path, in Basic credentials, in a message. Names
find secrets that this server does not know: cookies, tokens of other servers, and a token with a typing error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

HIDDEN = "[hidden]"

MIN_SECRET_CHARS = 4
"""Shorter values are not looked for: they would be found in every other word."""
MIN_CORE_CHARS = 6
"""The same for the part of a secret in Base64 that does not depend on what stands beside it."""

_WORDS: tuple[str, ...] = ("authorization", "cookie", "token", "secret", "passw", "credential", "xsrf", "csrf", "jwt")
_WORDS += ("api_key", "api-key", "apikey")
"""What is in the name of a header, a field or a parameter that holds a secret."""
SHOWN_SUBPROTOCOLS = ("v1.kernel.websocket.jupyter.org", "v1.token.websocket.jupyter.org")
"""WebSocket subprotocols that are shown. Browsers can send a token as another one, for want of headers."""

# A percent sign may be encoded in turn, and a backslash escaped. All repetitions are bounded or possessive: no text
# takes long to search.
_HEX = "(?:25){0,8}+"
_BACKSLASHES = r"\\{1,16}+"


def _any_case(digits: str) -> str:
    return "".join(f"[{digit.upper()}{digit.lower()}]" if digit.isalpha() else digit for digit in digits)


def _bytes_pattern(data: bytes) -> Iterator[str]:
    """Patterns for bytes as a URL and as the literals of several languages write them."""
    digits = [_any_case(f"{byte:02x}") for byte in data]
    yield "".join(f"%{_HEX}{pair}" for pair in digits)
    yield "".join(f"{_BACKSLASHES}x{pair}" for pair in digits)


def _char_pattern(char: str) -> str:
    """A pattern for a character: itself, quoted, or encoded."""
    code = ord(char)
    forms = [(r"\\{0,16}" if char in "'\"\\/" else "") + re.escape(char), *_bytes_pattern(_utf8(char))]
    units = char.encode("utf-16-be", "surrogatepass").hex()  # JSON has pairs of surrogates
    forms.append("".join(f"{_BACKSLASHES}u{_any_case(units[at : at + 4])}" for at in range(0, len(units), 4)))
    if code > 0xFFFF:
        forms.append(f"{_BACKSLASHES}U{_any_case(f'{code:08x}')}")
    if char == " ":
        forms.append(r"\+")
    if char == "%":  # its own code is what _HEX takes for an encoding of an encoding
        forms.append("%(?:25){1,9}+")
    if code > 0x7F:
        forms.append(re.escape(_utf8(char).decode("latin-1")))  # UTF-8 that was read as Latin-1, as headers are
        if code < 0x100:
            forms += _bytes_pattern(bytes([code]))
    return f"(?:{'|'.join(forms)})"


def spelled(text: str) -> str:
    """A pattern for a text, each of whose characters may be written as it is, percent-encoded or escaped."""
    return "".join(map(_char_pattern, text))


def _utf8(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")  # the bytes of the command line
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _base64_cores(secret: str) -> Iterator[str]:
    """The parts of a secret in Base64 that are the same whatever comes before and after it, for Basic credentials."""
    encodings = {_utf8(secret)}
    if all(ord(char) < 0x100 for char in secret):
        encodings.add(secret.encode("latin-1"))
    for data in encodings:
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + data).decode()
            first = -(-before * 8 // 6)  # characters with bits of what comes before
            core = encoded[first : (before + len(data)) * 8 // 6]
            if len(core) >= MIN_CORE_CHARS:
                yield core
                yield core.translate(str.maketrans("+/", "-_"))


_word = "|".join("".join(f"(?:{char}|%{_HEX}{_any_case(f'{ord(char):02x}')})" for char in word) for word in _WORDS)
_PARAMETER = re.compile(
    rf"(?:{_word})(?:[\w.\[\]-]|%{_HEX}(?:5[bdf]|2[de])){{0,40}}(?:=|%{_HEX}3d)(?P<value>[^\s&;\"'<>#()]+)", re.I
)
"""`token=…` in a query, also in one that is itself a value in another: there the rest of the value goes, too."""

_HEADER = re.compile(
    rf"(?<![\w-])(?P<name>[\w-]{{0,60}}(?:{'|'.join(_WORDS)})[\w-]*+|sec-websocket-protocol)"
    r"(?:(?P<end>\\{0,16}[\"'])\s*[:,=]\s*|\s*:\s*|=(?=[\"']))"
    r"(?:[ub]?(?P<quote>[\"'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\\n])*)|(?P<rest>[^\r\n]*))",
    re.I,
)
"""`authorization: …` to the end of its line, and the same as a field of a dict, a tuple or JSON."""

_BEARER = re.compile(r"\b(bearer)\s+(?P<value>[\w.~+/=-]{4,})", re.I)
_USERINFO = re.compile(r"://(?P<value>[^\s/@\"'<>]{1,1000})@")
_TOKEN_SUBPROTOCOL = re.compile(r"v1\.token\.websocket\.jupyter\.org\.(?P<value>[^\s,\"']+)")


_HINTS = (*_WORDS, "bearer", "://", "sec-websocket-protocol")
"""One of them is in each text in which a pattern finds something, unless that is encoded."""


def _in_url(core: str) -> str:
    return re.escape(core).replace(r"\+", r"(?:\+|%2[Bb])").replace("/", "(?:/|%2[Ff])")


class Redaction:
    """Finds what must not be shown."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._values: re.Pattern[str] | None = None
        self._plain: tuple[str, ...] = ()

    def hide(self, *secrets: str) -> None:
        """Never show these values from now on. Values of fewer than MIN_SECRET_CHARS characters are not looked for."""
        self._secrets |= {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
        if not self._secrets:
            return
        longest_first = sorted(self._secrets, key=lambda secret: (-len(secret), secret))
        cores = sorted({core for secret in longest_first for core in _base64_cores(secret)})
        patterns = list(map(spelled, longest_first))
        if cores:
            # Together with the characters around it, which have bits of the secret, too.
            run = r"[\w+/=%-]*"
            patterns.append(rf"(?:(?<![\w+/=%-]){run}?)?(?:{'|'.join(map(_in_url, cores))}){run}")
        self._values = re.compile("|".join(patterns))
        self._plain = (*longest_first, *cores)

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        # Most lines have none, and nothing in another spelling than its own: they are not searched.
        encoded = "%" in text or "\\" in text or "+" in text or not text.isascii()
        if self._values is not None and (encoded or any(value in text for value in self._plain)):
            text = self._values.sub(HIDDEN, text)
        folded = text.lower()
        if encoded or any(word in folded for word in _HINTS):
            text = _HEADER.sub(_hide_header, text)
            for pattern in (_PARAMETER, _BEARER, _USERINFO, _TOKEN_SUBPROTOCOL):
                text = pattern.sub(_hide_value, text)
        return text


def _hide_value(match: re.Match[str]) -> str:
    start, end = match.span("value")
    return match.string[match.start() : start] + HIDDEN + match.string[end : match.end()]


def _hide_header(match: re.Match[str]) -> str:
    group = "rest" if match["rest"] is not None else "quoted"
    value, header = match[group], match["name"].lower()
    if group == "rest" and header.isalpha() and header not in ("authorization", "cookie") and " " in value.strip():
        return match[0]  # a sentence: "it needs no token: …"
    if header == "sec-websocket-protocol":
        names = (name.strip() for name in value.split(","))
        hidden = ", ".join(name if name in SHOWN_SUBPROTOCOLS else HIDDEN for name in names)
    else:
        hidden = HIDDEN
    start, end = match.span(group)
    return match.string[match.start() : start] + (hidden if value else "") + match.string[end : match.end()]
