"""What Jupyter Server calls of its extension: it takes the kernels over before the server has made its managers."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from ... import __version__
from ...errors import FPSKernelsError
from ...serving.logs import sanitize_package

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from ...execution.service import ExecutionService
    from .mapping_manager import FpsMappingKernelManager

CLASS_OPTIONS = ("kernel_manager_class", "kernel_websocket_connection_class")
"""The options of ServerApp that this sets, both or neither."""

DOCUMENTS = "jupyter_server_ydoc"
"""The extension that has the shared documents of jupyter-collaboration."""
RIVALS = ("jupyter_server_documents", "jupyter_server_nbmodel")
"""Extensions that execute cells, too, with routes of the same addresses. Ours would win by the alphabet."""

_linked: WeakSet[ServerApp] = WeakSet()
"""The servers whose kernels were taken over."""


def _link_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Set the classes of kernels and of their WebSockets, unless the user has set others.

    This is the one moment when all configuration is read, and no manager is made. Whatever is raised here leaves a
    server with kernels of its own.
    """
    keep = _wants_kept(serverapp)
    reason = why_not(serverapp)
    if reason is not None:
        if keep and sys.platform == "win32":
            _refuse(serverapp, f"keep_kernels={keep}: on this system kernels cannot outlive their server")
        serverapp.log.info("fps_kernels does not run the kernels: %s", reason)
        return
    # What cannot be imported must fail before anything is changed.
    from .mapping_manager import FpsMappingKernelManager
    from .websocket_connection import FpsWebSocketConnection

    config = type(serverapp.config)()
    config.ServerApp.kernel_manager_class = FpsMappingKernelManager
    config.ServerApp.kernel_websocket_connection_class = FpsWebSocketConnection
    if keep:
        from jupyter_server.services.sessions.sessionmanager import SessionManager

        from .kept_sessions import keeping_class

        chosen = "session_manager_class" in serverapp.config.ServerApp  # its default cannot be asked for yet
        config.ServerApp.session_manager_class = keeping_class(
            serverapp.session_manager_class if chosen else SessionManager
        )
    serverapp.update_config(config)
    _linked.add(serverapp)
    logging.getLogger("fps_kernels").parent = serverapp.log
    sanitize_package()


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Say who runs the kernels, now that all extensions have had their turn."""
    if serverapp not in _linked:
        return
    from .kernels_page_handlers import add_page_handlers
    from .mapping_manager import FpsMappingKernelManager
    from .prometheus import register_kernels
    from .websocket_connection import FpsWebSocketConnection

    manager, connection = serverapp.kernel_manager, serverapp.kernel_websocket_connection_class
    if not isinstance(manager, FpsMappingKernelManager):
        serverapp.log.warning("fps_kernels does not run the kernels: %s has replaced it", _name(type(manager)))
        return
    serverapp.log.info("fps_kernels %s runs the kernels", __version__)
    register_kernels(manager)
    add_page_handlers(serverapp, manager)
    executions = _add_execution(serverapp, manager)
    if manager.keeping.keeps:
        _take_over(serverapp, manager, executions)
    serverapp.io_loop.add_callback(manager.keep_kernels_ready)
    if not issubclass(connection, FpsWebSocketConnection):
        serverapp.log.warning(
            "fps_kernels does not serve the WebSockets of its kernels, as %s has replaced its class: "
            "what a client misses while it is away is lost",
            _name(connection),
        )


def _take_over(serverapp: ServerApp, manager: FpsMappingKernelManager, executions: ExecutionService | None) -> None:
    """Take over the kernels and sessions of servers before this one, before the first request is served.

    The server ends if that is not possible: its kernels would end with it.
    executions: what executes cells: it goes on with those that wait, once the documents' extension is there.
    """
    from .kept_sessions import KeptSessions

    if not isinstance(serverapp.session_manager, KeptSessions):
        serverapp.log.warning(
            "sessions end with this server, as %s has replaced the class of their manager",
            _name(type(serverapp.session_manager)),
        )
    keeping = manager.keeping
    keeping.sessions, keeping.address = serverapp.session_manager, serverapp.local_url
    if executions is not None:
        keeping.on_kernel = executions.restore
    loop: Any = serverapp.io_loop
    if loop.asyncio_loop.is_running():  # as in a test of an extension; the first start of a kernel waits for it
        loop.add_callback(manager.take_kernels_over)
    elif executions is None:
        _take_over_now(serverapp, manager)
    else:
        start = serverapp.start

        def take_over_and_start() -> None:
            """All extensions are loaded, and nothing is served yet."""
            _take_over_now(serverapp, manager)
            start()

        serverapp.start = take_over_and_start  # type: ignore[method-assign]


def _take_over_now(serverapp: ServerApp, manager: FpsMappingKernelManager) -> None:
    try:
        serverapp.io_loop.run_sync(manager.take_kernels_over)
    except FPSKernelsError as exc:
        _refuse(serverapp, exc.message)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Without a terminal, jupyter_server ends at once, which would be a crash.
        signal.signal(signal.SIGINT, serverapp._signal_stop)


def _wants_kept(serverapp: ServerApp) -> str:
    """The value of `keep_kernels` if it is set, and not to `never`; else empty."""
    found = serverapp.config.get("FpsMappingKernelManager", {}).get("keep_kernels", "never")
    return "" if str(found).lower() == "never" else str(found)


def _refuse(serverapp: ServerApp, reason: str) -> NoReturn:
    """End the server, which is not as it was asked to be."""
    serverapp.log.critical("fps_kernels: %s", reason)
    serverapp.exit(1)
    raise SystemExit(1)


def _add_execution(serverapp: ServerApp, manager: FpsMappingKernelManager) -> ExecutionService | None:
    """Execute cells of shared documents, if there are any, and nobody else does; returns what executes them."""
    enabled = [name for name, one in serverapp.extension_manager.extensions.items() if one.enabled]
    if DOCUMENTS not in enabled:
        return None
    rivals = [name for name in RIVALS if name in enabled]
    if rivals:
        serverapp.log.info("fps_kernels does not execute cells of shared documents: %s does", " and ".join(rivals))
        return None
    try:
        from .execution_handlers import add_execution_handlers  # needs pycrdt, which comes with the documents
    except ImportError as exc:  # the extension is enabled, and broken
        serverapp.log.warning("fps_kernels does not execute cells of shared documents: %s", exc)
        return None
    executions = add_execution_handlers(serverapp, manager)
    serverapp.log.info("fps_kernels executes cells of shared documents")
    return executions


def why_not(serverapp: ServerApp) -> str | None:
    """Why this server's kernels are not ours to run, for its log; None if they are."""
    if sys.platform == "win32":
        return "it cannot on Windows"
    if serverapp.config.GatewayClient.get("url") or os.environ.get("JUPYTER_GATEWAY_URL"):
        return "they are a gateway's"
    chosen = serverapp.config.ServerApp
    others = [name for name in CLASS_OPTIONS if name in chosen and not _is_ours(chosen[name])]
    if others:
        return f"{' and '.join(f'ServerApp.{name}' for name in others)} {'is' if len(others) == 1 else 'are'} set"
    return None


def _is_ours(chosen: object) -> bool:
    """Whether a class, or where it is found, is one of this package."""
    return (chosen if isinstance(chosen, str) else getattr(chosen, "__module__", "")).startswith(f"{__package__}.")


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
