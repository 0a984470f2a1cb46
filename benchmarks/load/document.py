"""The documents that measurements are put into."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def put_between(document: Path, begin: str, end: str, text: str) -> None:
    """Replace what is between two markers. Raises SystemExit when the document has none."""
    old = document.read_text()
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(old):
        sys.exit(f"{document.name} has no {begin} … {end}")
    document.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old))
