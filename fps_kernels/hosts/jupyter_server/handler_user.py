"""Who sends a request to a Jupyter Server, where its identity provider tells people apart."""

from __future__ import annotations

import re
from typing import Any

from jupyter_server.auth.identity import LegacyIdentityProvider
from jupyter_server.auth.login import LegacyLoginHandler

MADE_UP_ID = re.compile("[0-9a-f]{32}")
MADE_UP_NAME = "Anonymous "
"""What the names of users begin with whom jupyter_server has made up."""


def user_of(handler: Any) -> str:
    """The name of the user who sent a handler's request; "" where all are one user.

    Whoever has jupyter_server's token or password has no name. A user is made up then for each browser, and for each
    request without cookies, so that a client that comes back with its session_id may seem to be somebody else.
    """
    user = handler.current_user
    username = str(getattr(user, "username", ""))
    if MADE_UP_ID.fullmatch(username) and str(user.name).startswith(MADE_UP_NAME):
        return ""
    return "" if _is_legacy(handler.identity_provider) else username


def _is_legacy(provider: Any) -> bool:
    """Whether users are those of jupyter_server 1, which are made up and do not look so."""
    if not isinstance(provider, LegacyIdentityProvider):
        return False
    theirs: Any = getattr(provider.login_handler_class, "get_user", None)
    return getattr(theirs, "__func__", theirs) is vars(LegacyLoginHandler)["get_user"].__func__
