"""The terminals of a server, by terminado: as those of Jupyter Server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from terminado.management import NamedTermManager, PtyWithClients
from tornado.ioloop import IOLoop

MAX_TERMINALS = 200
KEPT_CHARS = 1_000_000
"""How much of what a terminal has shown a page gets that comes later, or again: more than it keeps for scrolling."""
MAX_WAITING_CHARS = 1_000_000
"""How much may wait for a page. Then the terminal is not read, so that its program waits, until the page is ready."""


class TerminalClient:
    """A page that shows a terminal: what waits to be sent to it. terminado calls it as it calls its own sockets.

    size: rows and columns, once it has said them.
    """

    def __init__(self, manager: TerminalManager, terminal: PtyWithClients) -> None:
        self.size: tuple[int | None, int | None] = (None, None)
        self.waiting: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the terminal, which is not read
        self.waiting_chars = 0
        self._manager = manager
        self.terminal = terminal

    def on_pty_read(self, text: str) -> None:
        self.waiting_chars += len(text)
        self.waiting.put_nowait(text)
        if self.waiting_chars > MAX_WAITING_CHARS:
            self._manager.pause(self.terminal)

    def on_pty_died(self) -> None:
        self.waiting.put_nowait(None)

    def resize(self, rows: int, columns: int) -> None:
        """Fit the terminal to the smallest of its pages."""
        self.size = (rows, columns)
        if not self.terminal.ptyproc.closed:
            self.terminal.resize_to_smallest()

    async def next_message(self) -> str | None:
        """What the page is to be sent next, as JSON; None at the end of the terminal."""
        text = await self.waiting.get()
        if text is None:
            return None
        self.waiting_chars -= len(text)
        self._manager.go_on(self.terminal)
        return json.dumps(["stdout", text])


class TerminalManager(NamedTermManager):
    """All terminals, by name.

    root: the folder in which they begin.
    """

    def __init__(self, root: Path, url: str) -> None:
        shell = [os.environ.get("SHELL") or shutil.which("bash") or shutil.which("sh") or "/bin/sh"]
        if not sys.stdout.isatty():  # started by a service, without what a login sets
            shell.append("-l")
        names = {"JUPYTER_SERVER_ROOT": str(root), "JUPYTER_SERVER_URL": url}
        super().__init__(shell_command=shell, extra_env=names, max_terminals=MAX_TERMINALS)
        self.root = root
        self._last_activity: WeakKeyDictionary[PtyWithClients, datetime] = WeakKeyDictionary()

    def begin(self, name: str | None, folder: str | None) -> dict[str, str]:
        """The model of a new terminal. Raises OSError."""
        chosen = {} if name is None else {"name": name}
        where = self.root / folder if folder else self.root
        name, terminal = self.new_named_terminal(cwd=str(where if where.is_dir() else self.root), **chosen)
        terminal.ptyproc.delayafterclose = 0  # it would sleep on the event loop
        os.set_blocking(terminal.ptyproc.fd, False)  # a program that does not read its input holds up nothing else
        self._last_activity[terminal] = datetime.now(UTC)
        return self.model(name)

    def model(self, name: str) -> dict[str, str]:
        """As the REST API shows a terminal. Raises KeyError."""
        at = self._last_activity[self.terminals[name]]
        return {"name": name, "last_activity": at.isoformat().replace("+00:00", "Z")}

    def join(self, name: str) -> TerminalClient:
        """A new page, to which is sent first what the terminal has shown. Raises KeyError."""
        terminal = self.terminals[name]
        client = TerminalClient(self, terminal)
        if shown := "".join(terminal.read_buffer):
            client.on_pty_read(shown)
        terminal.clients.append(client)
        return client

    def leave(self, name: str, client: TerminalClient) -> None:
        """A page that shows the terminal no longer. It may have ended."""
        terminal = client.terminal
        if client in terminal.clients:
            terminal.clients.remove(client)
        if self.terminals.get(name) is terminal:
            terminal.resize_to_smallest()
            self.go_on(terminal)

    def pre_pty_read_hook(self, terminal: PtyWithClients) -> None:
        self._last_activity[terminal] = datetime.now(UTC)
        kept = terminal.read_buffer
        size = sum(map(len, kept))
        while size > KEPT_CHARS:
            size -= len(kept.popleft())

    def pause(self, terminal: PtyWithClients) -> None:
        if self.ptys_by_fd.pop(terminal.ptyproc.fd, None) is not None:
            IOLoop.current().remove_handler(terminal.ptyproc.fd)

    def _read_to_its_end(self, terminal: PtyWithClients) -> None:
        if not terminal.ptyproc.closed and terminal.ptyproc.fd not in self.ptys_by_fd:
            self.start_reading(terminal)

    def go_on(self, terminal: PtyWithClients) -> None:
        """Read a terminal again, unless something still waits for a page, or it has ended."""
        fd = terminal.ptyproc.fd
        if terminal.ptyproc.closed or fd in self.ptys_by_fd:
            return
        if all(client.waiting_chars <= MAX_WAITING_CHARS // 2 for client in terminal.clients):
            self.start_reading(terminal)

    async def end(self, name: str) -> None:
        """End a terminal, by force if need be. Raises KeyError."""
        terminal = self.terminals[name]
        self._read_to_its_end(terminal)
        await terminal.terminate(force=True)

    async def kill_all(self) -> None:
        """End all, also those that are not being read."""
        await asyncio.gather(*(terminal.terminate(force=True) for terminal in self.terminals.values()))
        self.terminals = {}


def shell_input(message: Any) -> bytes | None:
    """What a message of a page types, if it does."""
    match message:
        case ["stdin", str(text)]:
            return text.encode("utf-8", "replace")
    return None


def page_size(message: Any) -> tuple[int, int] | None:
    """The rows and columns of a page, if its message says them."""
    match message:
        case ["set_size", int(rows), int(columns), *_] if 0 < rows < 10_000 and 0 < columns < 10_000:
            return rows, columns
    return None
