"""A line in the log for what is refused, and not one for each of thousands."""

from __future__ import annotations

import logging
from time import monotonic

from starlette.types import Scope

from ..trusted_proxy import PEER_KEY
from .guesses import Guesses, is_logged

logger = logging.getLogger(__name__)

MAX_PATH_CHARS = 200
FIRST_LINES = 200
"""Lines for one address, for whatever paths, before only one refusal of a hundred gets one."""
FIRST_LINES_BY_PROXY = 2_000
"""The same for all clients of a proxy, whose addresses they may have made up."""


LOGGED = "fps_kernels.logged"
"""The statuses of a scope's refusals that are in the log, or would be if there were not so many."""


def follow_refusals(scope: Scope) -> list[int]:
    """What is logged from now on of the refusals of this scope, and of copies that are made of it further inside."""
    statuses: list[int] = scope.setdefault(LOGGED, [])
    return statuses


class RefusalLog:
    """Logs the first refusals of each address and path, and then one of a hundred."""

    def __init__(self) -> None:
        self._addresses = Guesses()  # they count, in bounded memory
        self._paths = Guesses()
        self._proxies = Guesses()

    def refused(self, scope: Scope, status: int, why: str) -> None:
        """Note a refused request. The query is not logged: it may hold a token."""
        scope.setdefault(LOGGED, []).append(status)
        address = str((scope.get("client") or ("an unknown client",))[0])
        path = scope["path"][:MAX_PATH_CHARS]
        now = monotonic()
        total = self._addresses.failed(address, now)
        number = self._paths.failed(f"{address} {path}", now)
        by_proxy = self._proxies.failed(str(scope[PEER_KEY]), now) if PEER_KEY in scope else 0
        few = total <= FIRST_LINES and by_proxy <= FIRST_LINES_BY_PROXY
        if is_logged(number) and (few or is_logged(max(total, by_proxy))):
            more = f" ({total} from there so far)" if number > 1 else ""
            logger.warning("%d for %r from %s: %s%s", status, path, address, why, more)
