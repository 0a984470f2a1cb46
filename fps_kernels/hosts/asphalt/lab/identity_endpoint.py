"""`/api/me`: who a request comes from, and what that user may do."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from ....errors import InvalidBody
from ....serving.identity import user_of
from ....serving.json_responses import json_response

NOBODY_IN_PARTICULAR = "anonymous"
"""The name of whoever has the token."""


async def me(request: Request) -> Response:
    """In the form of Jupyter Server. Who has been let in may do everything. Raises InvalidBody."""
    wanted = _wanted(request.query_params.get("permissions", ""))
    name = user_of(request.scope) or NOBODY_IN_PARTICULAR
    shown = name if user_of(request.scope) else "Anonymous"
    identity = {
        "username": name,
        "name": shown,
        "display_name": shown,
        "initials": shown[:1].upper(),
        "avatar_url": None,
        "color": None,
    }
    return json_response({"identity": identity, "permissions": {**wanted, "updatable_fields": []}})


def _wanted(text: str) -> dict[str, list[str]]:
    """The permissions that a request asks about. Raises InvalidBody."""
    try:
        wanted = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict) or not all(
        isinstance(actions, list) and all(isinstance(action, str) for action in actions) for actions in wanted.values()
    ):
        raise InvalidBody(f'permissions should be a JSON dict of {{"resource": ["action",]}}, got {text[:200]!r}')
    return wanted
