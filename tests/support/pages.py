"""The pages of the documentation, and the blocks of code on them: how each is tested, or why it is not.

A block that a reader could run (`bash`, `console`, `python`, `http`) is run as it stands, unless something beside it
says otherwise:

- `<!-- tested by: tests/… -->` above it: that test does, and says on which page it stands;
- `<!-- command: … -->` above it, in the README: .ci/run does;
- `<!-- from: docs/examples/… -->` above it: it is a part of that file, which has a test, or is run by a page;
- `*Not run by our tests: ….*` below it, which readers see, too.

What the other languages have is data: whether it can be read is looked at.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
RUNNABLE = ("bash", "console", "python", "http")
DATA = ("ini", "json", "nginx", "text", "toml", "yaml")
_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>[\w ]+): (?P<says>.+?) -->\n)?"
    r"^(?P<fence>`{3,})(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)$"
    r"(?:\n+\*Not run by our tests: (?P<reason>[^*]+)\.\*$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code between fences.

    page: the path in the repository. line: the number of its first line, as it stands there or, of a page that is
      made when the site is built, as it is made.
    kind, says: of the comment above it; both empty without one.
    reason: why it is not run; empty if it is.
    """

    page: str
    line: int
    language: str
    text: str
    kind: str
    says: str
    reason: str

    @property
    def is_run(self) -> bool:
        """Whether it is run as it stands."""
        return self.language in RUNNABLE and not self.kind and not self.reason

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def page_paths() -> list[str]:
    """All pages, by their paths in the repository."""
    return [*DOCUMENTS, *(str(one.relative_to(ROOT)) for one in sorted((ROOT / "docs").rglob("*.md")))]


@cache
def site_hook() -> dict[str, Any]:
    """What docs/site_hook.py defines; it imports its neighbours, as it does for mkdocs."""
    folder = str(ROOT / "docs")
    sys.path.insert(0, folder)
    try:
        return vars(importlib.import_module("site_hook"))
    finally:
        sys.path.remove(folder)


def page_text(path: str) -> str:
    """The text of a page, with what is made for it when the site is built."""
    text = (ROOT / path).read_text()
    return str(site_hook()["expand"](text)) if "<!-- reference:" in text else text


@cache
def blocks_of(path: str) -> list[Block]:
    text = page_text(path)
    return [
        Block(
            path,
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            found["text"],
            found["kind"] or "",
            found["says"] or "",
            found["reason"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]
