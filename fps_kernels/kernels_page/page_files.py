"""The files of the page of kernels, as they are in the package, and the headers that they are sent with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..errors import NotFound

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page's own part of its content security policy: nothing in it is run but its scripts, and no text becomes
markup, whatever a kernel is called. Who may show it in a frame is the host's to say."""


def page_headers(host_policy: str) -> dict[str, str]:
    """The headers of the page, besides its content type. host_policy: that of the host's pages."""
    return {
        "Content-Security-Policy": f"{host_policy}; {POLICY}",
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def page_file(name: str) -> tuple[bytes, str]:
    """The content of a file, and its type. Raises NotFound."""
    files = _files()
    if name not in files:
        raise NotFound(f"Not found: {name[:100]}")
    return files[name]


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """All files by their names, read at the first request for one: 60 KiB."""
    return {
        path.name: (path.read_bytes(), CONTENT_TYPES[path.suffix])
        for path in FOLDER.iterdir()
        if path.suffix in CONTENT_TYPES
    }
