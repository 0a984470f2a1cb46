"""How the end of a process is put into words."""

from __future__ import annotations

import signal

from fps_kernels.kernel_driver.exit_status import ExitStatus

from ..support.cases import for_each


@for_each(
    ("status", "reason"),
    [
        (ExitStatus(None), "exited"),
        (ExitStatus(0), "exited with code 0"),
        (ExitStatus(1, ("one", "two", "three", "four")), "exited with code 1: two | three | four"),
        (
            ExitStatus(1, ("Traceback (most recent call last):", "  File x", "", "OSError: why")),
            "exited with code 1: OSError: why",
        ),
        (
            ExitStatus(1, ("cannot open /home/me/.local/secret.json: no",)),
            "exited with code 1: cannot open secret.json: no",
        ),
        (
            ExitStatus(1, ("\x1b[31mValueError\x1b[0m: a\x1b[2J\x07\u202e\u2028", "\tat java")),
            "exited with code 1: ValueError: a\\x1b[2J\\x07\\u202e\\u2028",
        ),
        (ExitStatus(-signal.SIGKILL, ("noise",)), "killed (SIGKILL), possibly out of memory"),
        (ExitStatus(-signal.SIGKILL, out_of_memory=True), "killed (SIGKILL), out of memory"),
        (ExitStatus(-signal.SIGKILL, out_of_memory=False), "killed (SIGKILL)"),
        (ExitStatus(-signal.SIGSEGV), "killed (SIGSEGV)"),
        (ExitStatus(-200), "killed (signal 200)"),
    ],
)
def test_the_reason_of_an_exit_is_one_line_without_paths(status: ExitStatus, reason: str) -> None:
    assert status.reason == reason
