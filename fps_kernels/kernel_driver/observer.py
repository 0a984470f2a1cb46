"""Observers of a kernel's life: its deaths, restarts and interrupts, apart from its messages. Pure."""

from __future__ import annotations

from ..errors import FPSKernelsError
from .exit_status import ExitStatus
from .request_log import Request


class LifecycleObserver:
    """A base for those who are told of a kernel's life. The methods are called on the loop, in order."""

    def on_ready(self, how: str) -> None:
        """A process answers.

        how: "cold" if it was launched for the kernel, "warm" if it came from a pool, "found" if others have used it.
        """

    def on_start_failed(self) -> None:
        """The kernel's first process has not come to answer."""

    def on_exit(self, status: ExitStatus) -> None:
        """A process that answered has ended unasked."""

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        """The kernel will not answer these requests."""

    def on_interrupt(self) -> None:
        """A user interrupts the kernel."""

    def on_user_restart(self) -> None:
        """A user restarts the kernel; outputs of the old process are of no interest any more."""

    def on_restarting(self, reason: str) -> None:
        """The kernel died, and is being restarted automatically."""

    def on_dead(self, reason: str) -> None:
        """The kernel is dead, and stays so until a user restarts it."""


class Observers(LifecycleObserver):
    """Several observers as one. They are told in the order in which they were added."""

    def __init__(self, *observers: LifecycleObserver) -> None:
        self._observers = observers

    def __len__(self) -> int:
        return len(self._observers)

    def add(self, observer: LifecycleObserver) -> None:
        """Add an observer, to be told after the others."""
        self._observers = (*self._observers, observer)

    def on_ready(self, how: str) -> None:
        for observer in self._observers:
            observer.on_ready(how)

    def on_start_failed(self) -> None:
        for observer in self._observers:
            observer.on_start_failed()

    def on_exit(self, status: ExitStatus) -> None:
        for observer in self._observers:
            observer.on_exit(status)

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        for observer in self._observers:
            observer.on_requests_failed(requests, error)

    def on_interrupt(self) -> None:
        for observer in self._observers:
            observer.on_interrupt()

    def on_user_restart(self) -> None:
        for observer in self._observers:
            observer.on_user_restart()

    def on_restarting(self, reason: str) -> None:
        for observer in self._observers:
            observer.on_restarting(reason)

    def on_dead(self, reason: str) -> None:
        for observer in self._observers:
            observer.on_dead(reason)
