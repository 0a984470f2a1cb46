"""Requests that pages of other sites make with their user's browser.

A host with an access layer has judged them already, all of them; plainly served routes are guarded here, as far as they
change anything. A form or a fetch without CORS gets past CORS middleware, which only hides the answer from the page.
"""

from __future__ import annotations

from starlette.requests import Request

from ..errors import Forbidden
from ..serving.access.xsrf import SAFE_METHODS
from .host import Host


def check_page(host: Host, request: Request) -> None:
    """Check that the page that made a request may do so. Raises Forbidden."""
    if request.method not in SAFE_METHODS and not host.origin_allowed(request.headers, request.scope["scheme"]):
        raise Forbidden("Cross origin request refused: set allow_origin")
