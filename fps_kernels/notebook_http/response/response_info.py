"""The status and the headers that a ResponseInfo cell prints. Pure."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_RESERVED = frozenset(
    # These belong to the connection, not to the response (RFC 9110, 7.6.1): only the server may set them.
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


class InvalidInfo(Exception):
    """A ResponseInfo cell printed what cannot be sent; the message is for the notebook's author."""


def parse_info(text: str) -> tuple[int, list[tuple[str, str]]]:
    """The status and the headers that a ResponseInfo cell printed. Raises InvalidInfo."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidInfo("it is not JSON" if text.strip() else "nothing was printed") from exc
    if not isinstance(info, dict):
        raise InvalidInfo("it is not a JSON object")
    status = info.get("status", 200)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise InvalidInfo("the status is not an integer from 200 to 599")
    headers = info.get("headers", {})
    if not isinstance(headers, dict):
        raise InvalidInfo("the headers are not an object")
    by_name: dict[str, list[tuple[str, str]]] = {}
    for name, value in headers.items():
        values = [_header(name, item) for item in (value if isinstance(value, list) else [value])]
        by_name[name.lower()] = values  # of names that differ only in case, the last one counts
    return status, [header for values in by_name.values() for header in values]


def _header(name: str, value: object) -> tuple[str, str]:
    """A header that can be sent. Raises InvalidInfo."""
    if not _TOKEN.fullmatch(name):
        raise InvalidInfo(f"{json.dumps(name[:100])} is not the name of a header")
    if name.lower() in _RESERVED:
        raise InvalidInfo(f"the header {name} is the server's own")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # as in Kernel Gateway: notebooks print numbers
    if not isinstance(value, str):
        raise InvalidInfo(f"the header {name} is neither a string nor a list of strings")
    value = value.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise InvalidInfo(f"the header {name} has a line break or another character that is not allowed in a header")
    return name, value
