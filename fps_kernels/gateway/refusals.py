"""The answers to requests that are turned away."""

from __future__ import annotations

import logging

from starlette.responses import Response
from starlette.types import Scope

from ..api.responses import error_response

logger = logging.getLogger(__name__)


def refuse(scope: Scope, status: int, message: str, why: str) -> Response:
    """An error response, and a line in the log for the operator.

    why: the reason, for the log only. The query is not logged: it may hold a token.
    """
    host = (scope.get("client") or ("an unknown client",))[0]
    logger.warning("%d for %r from %s: %s", status, scope["path"], host, why)
    return error_response(status, message)
