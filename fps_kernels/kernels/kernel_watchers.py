"""Those who watch kernels come and go, and the end of their server. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)


class KernelWatchers:
    """Callbacks that are called with the id of each kernel that is new, or gone; others at the end of the server."""

    def __init__(self) -> None:
        self._on_added: list[Callable[[str], None]] = []
        self._on_removed: list[Callable[[str], None]] = []
        self._on_stopping: list[Callable[[], None]] = []

    def add(
        self,
        on_added: Callable[[str], None] | None,
        on_removed: Callable[[str], None] | None,
        on_stopping: Callable[[], None] | None,
        kernel_ids: Iterable[str],
    ) -> None:
        """Add callbacks. `on_added` is called for the kernels that exist already."""
        if on_stopping is not None:
            self._on_stopping.append(on_stopping)
        if on_removed is not None:
            self._on_removed.append(on_removed)
        if on_added is not None:
            self._on_added.append(on_added)
            for kernel_id in list(kernel_ids):
                _call([on_added], kernel_id)

    def discard(self, callback: Callable[[str], None]) -> None:
        """Stop calling a callback. Does nothing for one that was not added."""
        for callbacks in (self._on_added, self._on_removed):
            if callback in callbacks:
                callbacks.remove(callback)

    def added(self, kernel_id: str) -> None:
        """A kernel exists now."""
        _call(self._on_added, kernel_id)

    def removed(self, kernel_id: str) -> None:
        """A kernel has ended, and is forgotten."""
        _call(self._on_removed, kernel_id)

    def stopping(self) -> None:
        """The server begins to stop its kernels."""
        _call(self._on_stopping)


def _call(callbacks: Iterable[Callable[..., None]], *kernel_id: str) -> None:
    for callback in tuple(callbacks):
        try:
            callback(*kernel_id)
        except Exception:  # a fault in a plugin must not keep a kernel from starting or ending
            logger.exception("a callback that watches kernels failed")
