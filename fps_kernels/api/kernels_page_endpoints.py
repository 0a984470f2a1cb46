"""`/kernels`: the page of kernels, its files, and the events that keep it up to date."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from ..kernels.registry import KernelRegistry
from ..kernels_page.kernel_feed import KernelFeed, Rights
from ..kernels_page.page_files import PAGE, page_file, page_headers
from ..serving.page_headers import page_policy
from .event_stream import EventStream
from .host import Host
from .kernel_endpoints import check_may_list


class KernelsPageEndpoints:
    """The page. What it shows of kernels comes with the events, and what it does goes through the API."""

    def __init__(self, registry: KernelRegistry, host: Host, feed: KernelFeed) -> None:
        self._registry = registry
        self._host = host
        self._feed = feed

    async def page(self) -> Response:
        check_may_list(self._registry)
        return self._file(PAGE)

    async def file(self, name: str) -> Response:
        return self._file(name)

    async def events(self, request: Request) -> Response:
        check_may_list(self._registry)
        self._feed.check_room()
        may = partial(self._host.may, request)
        rights = Rights(await may({"kernels": ["write"]}), await may({"sessions": ["read"]}))
        return EventStream(partial(self._feed.watch, rights))

    def _file(self, name: str) -> Response:
        content, content_type = page_file(name)
        headers = page_headers(page_policy(self._host.base_url))
        return Response(content, headers={**headers, "Content-Type": content_type})
