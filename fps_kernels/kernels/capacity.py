"""How many more kernels a server may run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import LimitReached
from .kernel import Kernel


class Capacity:
    """The room that a server has for kernels. External kernels do not count: they run anyway.

    list_kernels: lists the server's kernels.
    max_kernels: the largest number of kernels; None means no limit.
    """

    def __init__(self, list_kernels: Callable[[], Iterable[Kernel]], max_kernels: int | None) -> None:
        self._list_kernels = list_kernels
        self._max_kernels = max_kernels

    def room(self) -> int | None:
        """How many more kernels may be started; None means no limit."""
        if self._max_kernels is None:
            return None
        return self._max_kernels - sum(not kernel.external for kernel in self._list_kernels())

    def admit(self) -> None:
        """Raises LimitReached when no more kernels may be started."""
        room = self.room()
        if room is not None and room <= 0:
            raise LimitReached

    def is_starting(self) -> bool:
        """Whether any kernel is being started now."""
        return any(kernel.starting is not None and not kernel.starting.done() for kernel in self._list_kernels())
