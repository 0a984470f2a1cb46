"""Spans of the starts and restarts of one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...kernel_driver.exit_status import ExitStatus
from ...kernel_driver.observer import LifecycleObserver
from .tracing import Tracing, fail

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ..kernel import Kernel


class TracedLife(LifecycleObserver):
    """Has a span for each start of a kernel, until a process answers.

    attributes: what the spans say of the kernel.
    """

    def __init__(self, tracing: Tracing, attributes: dict[str, str]) -> None:
        self._tracing = tracing
        self._attributes = attributes
        self._death = ""
        self._span: Span | None = tracing.span("kernel.start", attributes, of_request=True)

    @classmethod
    def follow(cls, kernel: Kernel, tracing: Tracing, attributes: dict[str, str]) -> None:
        """Trace the life of a kernel whose start has not begun."""
        life = cls(tracing, attributes)
        kernel.observers.add(life)
        kernel.on_stop(life.on_end)

    def on_ready(self, how: str) -> None:
        if self._span is not None:
            self._span.set_attribute("jupyter.kernel.start", how)
        self._end_span()

    def on_start_failed(self) -> None:
        self._end_span("start_failed")

    def on_exit(self, status: ExitStatus) -> None:
        self._death = status.kind

    def on_user_restart(self) -> None:
        self._restart("user", of_request=True)

    def on_restarting(self, reason: str) -> None:
        self._restart("death", of_request=False)
        if self._span is not None and self._death:
            self._span.set_attribute("jupyter.kernel.death", self._death)

    def on_dead(self, reason: str) -> None:
        self._end_span(self._death or "dead")

    async def on_end(self) -> None:
        """The kernel has been shut down, perhaps before it was ready, or was left to others."""
        self._end_span("shut_down")

    def _restart(self, cause: str, *, of_request: bool) -> None:
        self._end_span("restarted")
        attributes = {**self._attributes, "jupyter.kernel.restart": cause}
        self._span = self._tracing.span("kernel.restart", attributes, of_request=of_request)

    def _end_span(self, error_type: str = "") -> None:
        """End the span, if one is open. error_type: "" if a process answers."""
        span, self._span = self._span, None
        if span is not None:
            if error_type:
                fail(span, error_type)
            span.end()
