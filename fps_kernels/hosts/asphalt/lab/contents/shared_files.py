"""Files that are open as shared documents, for pages that ask whether a file is still the one that they know.

Before a page of JupyterLab saves, it compares the hash of the file with the one that it has, and asks its user whether
to overwrite the file if they differ. Of what the server has saved of a shared document it learns by the document: later
than the file has changed, and on a busy machine much later. So the answer to that question leaves open what the hash
is, as long as the file is what the document holds; the page then compares the dates, and is told one that is older than
any that it can know. Saving overwrites nothing then. The hash is said when another program has written the file.

Only pages are answered so. Programs, which may remember what they have read by its hash, are told what there is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

MAX_FILES = 10_000
"""Files that are remembered; of others, a page may be told a hash that it does not know yet."""
LONG_AGO = "1970-01-01T00:00:00Z"


class SharedFiles:
    """The files that shared documents are in step with. May be used in any thread."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[str, str] = OrderedDict()

    def in_step(self, path: str, digest: str) -> None:
        """A document holds what is in the file with this hash."""
        self._hashes[path.strip("/")] = digest
        if len(self._hashes) > MAX_FILES:
            self._hashes.popitem(last=False)

    def for_page(self, path: str, model: dict[str, Any]) -> dict[str, Any]:
        """What a page is told that asks whether the file is the one that it knows.

        model: as of Jupyter Server, without content and with the hash of the file that is there.
        """
        if model.get("hash") is None or self._hashes.get(path.strip("/")) != model["hash"]:
            return model
        return {**model, "hash": None, "hash_algorithm": None, "last_modified": LONG_AGO}
