"""The handlers of the page of kernels, `/kernels`: as the endpoints of our own server, with Jupyter Server's rights."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from ...errors import FPSKernelsError
from ...kernels_page.kernel_feed import HEADERS, KernelFeed, KernelSource, Rights
from ...kernels_page.kernel_view import PageSession
from ...kernels_page.page_files import PAGE, page_file, page_headers
from .kernel_manager import http_errors
from .mapping_manager import FpsMappingKernelManager

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

NOTEBOOK_PAGES = {"jupyterlab": "lab/tree/", "notebook": "notebooks/"}
"""Extensions that have pages of notebooks, and what comes before a notebook's path there."""


class PageHandler(JupyterHandler):
    """The page and its files. Unlike an APIHandler, it does not count as a use of the server."""

    auth_resource = "kernels"

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]  # jupyter_server leaves it so
    async def get(self, name: str = PAGE) -> None:
        with http_errors():
            content, content_type = page_file(name)
        for header, value in page_headers(self.content_security_policy).items():
            self.set_header(header, value)
        self.set_header("Content-Type", content_type)
        if name == PAGE:
            self.xsrf_token  # noqa: B018 - sets the cookie that the page's requests send again
        self.finish(content)

    head = get


class EventsHandler(JupyterHandler):
    """The events, until the client leaves."""

    auth_resource = "kernels"
    write_error = APIHandler.write_error  # in JSON, as a script asks

    def initialize(self, feed: KernelFeed) -> None:
        self._feed = feed
        self._sending: asyncio.Task[None] | None = None

    def on_connection_close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def get_login_url(self) -> str:
        """A script asks, which has no use for the way to a form."""
        raise web.HTTPError(403)

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]  # jupyter_server leaves it so
    async def get(self) -> None:
        with http_errors():
            self._feed.check_room()
        rights = Rights(await self._may("write", "kernels"), await self._may("read", "sessions"))
        for header, value in HEADERS.items():
            self.set_header(header, value)
        if self.request.method != "HEAD":
            await self.flush()
            self._sending = asyncio.create_task(self._send_events(rights), name="stream of events")
            await asyncio.wait([self._sending])
            if not self._sending.cancelled():
                self._sending.result()

    head = get

    async def _send_events(self, rights: Rights) -> None:
        try:
            with self._feed.watch(rights) as events:
                async for event in events:
                    self.write(event)
                    await self.flush()
        except (FPSKernelsError, StreamClosedError):  # no room any more, or the client has gone
            return

    async def _may(self, action: str, resource: str) -> bool:
        return bool(await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, resource)))


def add_page_handlers(serverapp: ServerApp, manager: FpsMappingKernelManager) -> None:
    """Serve the page, until the server begins to shut down its kernels."""
    feed = KernelFeed(_source(serverapp, manager))
    manager.on_stopping(feed.close)
    page = url_path_join(serverapp.base_url, "kernels")
    serverapp.web_app.add_handlers(  # type: ignore[no-untyped-call]
        ".*$",
        [
            (page, PageHandler),
            (f"{page}/static/([^/]+)", PageHandler),
            (f"{page}/events", EventsHandler, {"feed": feed}),
        ],
    )


def _source(serverapp: ServerApp, manager: FpsMappingKernelManager) -> KernelSource:
    extensions = serverapp.extension_manager.extensions
    enabled = [name for name in NOTEBOOK_PAGES if name in extensions and extensions[name].enabled]

    async def sessions() -> dict[str, list[PageSession]]:
        found: dict[str, list[PageSession]] = {}
        listed: Any = await ensure_async(serverapp.session_manager.list_sessions())
        for one in listed:
            session: PageSession = {"path": str(one["path"]), "name": str(one["name"]), "type": str(one["type"])}
            found.setdefault(str(one["kernel"]["id"]), []).append(session)
        return found

    started: datetime = serverapp.web_app.settings["started"]
    notebook_page = NOTEBOOK_PAGES[enabled[0]] if enabled else ""
    return KernelSource(manager.served_kernels, sessions, manager.keeping.keepsake, started, notebook_page)
