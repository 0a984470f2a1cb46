"""Jupyverse on Asphalt, as the routes see it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.datastructures import Headers

from ...serving.origin import origin_allowed


class AsphaltHost:
    """A `Host`.

    allow_origin: the origins whose pages may open WebSockets, besides the server's own.
    on_first_request: called once, before the first request is answered; the server is up then.
    """

    def __init__(
        self, base_url: str, allow_origin: Collection[str], on_first_request: Callable[[], None] = lambda: None
    ) -> None:
        self.base_url = base_url
        self._allow_origin = allow_origin
        self._on_first_request: Callable[[], None] | None = on_first_request

    def origin_allowed(self, headers: Headers) -> bool:
        return origin_allowed(headers.get("origin"), headers.get("host"), self._allow_origin)

    async def on_request(self) -> None:
        callback, self._on_first_request = self._on_first_request, None
        if callback is not None:
            callback()
