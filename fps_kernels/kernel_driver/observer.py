"""Who is told of a kernel's life, besides those who listen to its messages. Pure."""

from __future__ import annotations

from ..errors import FPSKernelsError
from .request_log import Request


class LifecycleObserver:
    """What the web side hears of a kernel's life. The methods are called on the loop, in order."""

    def on_requests_failed(self, requests: list[Request], error: FPSKernelsError) -> None:
        """These will not be answered by the kernel."""

    def on_interrupt(self) -> None:
        """A user wants the kernel to stop what it is doing."""

    def on_user_restart(self) -> None:
        """A user wants a new process; what the old one said is of no interest any more."""

    def on_restarting(self, reason: str) -> None:
        """The kernel died, and is being restarted without anybody asking."""

    def on_dead(self, reason: str) -> None:
        """The kernel is dead, and stays so until somebody restarts it."""


class Observers(LifecycleObserver):
    """Several observers as one; told in the order in which they were added."""

    def __init__(self, *observers: LifecycleObserver) -> None:
        self._observers = observers

    def add(self, observer: LifecycleObserver) -> None:
        self._observers = (*self._observers, observer)

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
