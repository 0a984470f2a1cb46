"""What a person sees on the terminal when a server of ours has begun to serve: one panel, after the log has said so.

Programs wait for lines of the log and get nothing else: the panel is for terminals only. rich, which draws it, is
imported in a thread, once requests are served already.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import IO, Literal

from .logs import safe_line
from .sockets import Listening
from .standard_streams import tell

logger = logging.getLogger(__name__)

BannerLine = tuple[str, str]
"""A label, and what is said of it; lines of a text are lines of the panel."""

MAX_WIDTH = 100
"""Columns that a panel has at most: longer lines are hard to read."""


def place_lines(
    listening: Listening, certificate: str | None, *, client_certificates: bool, no_activity_timeout_s: float
) -> list[BannerLine]:
    """Where a server listens besides its URL, and when it ends by itself. certificate: the file, where there is TLS."""
    lines = []
    if listening.tls is not None:
        lines.append(("TLS", "with certificates of clients" if client_certificates else f"certificate {certificate}"))
    if listening.sock:
        lines.append(("Socket", listening.sock))
    if no_activity_timeout_s:
        lines.append(("Ends", f"after {no_activity_timeout_s:g} s without kernels and requests"))
    return lines


def watch_lines(metrics_url: str, *, metrics_port: int | None, asks: bool) -> list[BannerLine]:
    """Where numbers and log are, and how to end the server. asks: whether Ctrl-C asks on the terminal first."""
    own_port = "" if metrics_port is None else "; without a token on a port of its own, which the log names"
    stop = f"Ctrl-C {'asks whether to end' if asks else 'ends it'}; twice ends at once"
    return [("Metrics", f"{metrics_url}{own_port}"), ("Log", "on this terminal"), ("Stop", stop)]


def wants_banner() -> bool:
    """Whether there is a terminal to show one on, and its user wants to hear more than warnings."""
    return sys.stderr.isatty() and logging.getLogger().isEnabledFor(logging.INFO)


def announce(title: str, lines: Sequence[BannerLine], after: str = "") -> None:
    """Show a panel, where there is a terminal for it, and then a text that is to stay whole.

    lines: none for no panel.
    after: shown everywhere, as it is: a URL in it can be clicked, which one that a panel breaks cannot.
    """
    if not lines or not wants_banner():
        if after:
            tell(after)
        return

    def show() -> None:
        try:
            print_banner(title, lines, sys.stderr)
        except ModuleNotFoundError as exc:
            logger.debug("no panel: there is no %s", exc.name)
        except (OSError, ValueError):  # the terminal is gone
            return
        if after:
            tell(after)

    threading.Thread(target=show, name="banner", daemon=True).start()


def print_banner(title: str, lines: Sequence[BannerLine], file: IO[str]) -> None:
    """Draw a panel of at most MAX_WIDTH columns. Raises ModuleNotFoundError without rich."""
    from rich import box
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    width = None
    if not os.environ.get("COLUMNS"):  # rich believes that no dumb terminal says how wide it is
        with contextlib.suppress(OSError, ValueError):
            width = os.get_terminal_size(file.fileno()).columns or None
    plain = sys.platform != "win32" and os.environ.get("TERM", "") in ("", "dumb", "unknown")
    colours: Literal["auto"] | None = None if plain else "auto"
    console = Console(
        file=file, highlight=False, emoji=False, markup=False, width=width, color_system=colours, force_terminal=True
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in lines:
        value = Text("\n".join(map(safe_line, text.split("\n"))))
        value.highlight_regex(r"https?://\S+", "cyan")
        table.add_row(Text(safe_line(label)), value)
    panel = Panel(
        table,
        title=Text(safe_line(title), style="bold"),
        title_align="left",
        box=box.ASCII if plain else box.ROUNDED,  # which rich replaces where the encoding has no such characters
        border_style="blue",
        padding=(0, 1),
        width=min(console.width, MAX_WIDTH),
    )
    console.print(panel)
