"""Who sent a request, as far as the server knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USER_KEY = "fps_kernels.user"
"""Where the name of an authenticated user stands in an ASGI scope; nowhere when all are one user."""


def user_of(scope: Mapping[str, Any]) -> str:
    """The name of the user who sent a request; "" when all are one user."""
    user = scope.get(USER_KEY)
    return user if isinstance(user, str) else ""
