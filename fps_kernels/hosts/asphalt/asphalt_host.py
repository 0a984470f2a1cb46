"""Jupyverse on Asphalt, as the routes see it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers

from ...serving.origin import AllowedOrigins, foreign_page


class AsphaltHost:
    """A `Host`.

    origins: the origins whose pages may use the server, besides its own.
    on_first_request: called once, before the first request is answered; the server is up then.
    """

    def __init__(
        self, base_url: str, origins: AllowedOrigins, on_first_request: Callable[[], None] = lambda: None
    ) -> None:
        self.base_url = base_url
        self._origins = origins
        self._on_first_request: Callable[[], None] | None = on_first_request

    def origin_allowed(self, headers: Headers, scheme: str) -> bool:
        return foreign_page(headers, scheme, self._origins) is None

    async def on_request(self) -> None:
        callback, self._on_first_request = self._on_first_request, None
        if callback is not None:
            callback()
