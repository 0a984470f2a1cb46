"""The bounds on a kernel's life. Pure."""

from __future__ import annotations

from dataclasses import dataclass

PORT_RETRIES = 3
"""Launches, when another process took a port between its choice and its use."""


@dataclass(frozen=True, slots=True)
class LifecycleOptions:
    """Bounds on the waits of a kernel's life, and how often it is restarted when it dies.

    startup_timeout_s: seconds from the launch to the first answer that are waited for.
    patient: whether a process that lives is left alone when it has not answered by then, instead of being ended.
    shutdown_wait_time_s: seconds for the polite ways to end a process, before SIGKILL.
    restart_limit: deaths within the window that are followed by a restart; 0 for none.
    restart_window_s: seconds after which a death no longer counts.
    restart_backoff_s: seconds before the second restart in a row; doubled for each one after that.
    kill_timeout_s: seconds to wait for the end after SIGKILL.
    """

    startup_timeout_s: float = 60.0
    patient: bool = True
    shutdown_wait_time_s: float = 5.0
    restart_limit: int = 5
    restart_window_s: float = 60.0
    restart_backoff_s: float = 0.5
    kill_timeout_s: float = 5.0
