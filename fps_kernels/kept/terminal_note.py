"""What an ipykernel prints for whoever has started it on a terminal, which a kernel that is kept does, too. Pure."""

from __future__ import annotations

OF_A_TERMINAL = (
    b"NOTE: When using the `ipython kernel` entry point, Ctrl-C will not work.",
    b"To exit, you will have to explicitly quit this process, by either sending",
    b'"quit" from a client, or using Ctrl-\\ in UNIX-like environments.',
    b"To read more about this, see https://github.com/ipython/ipython/issues/2049",
    b"To connect another client to this kernel, use:",
    b"    --existing kernel-",
)
"""How lines begin that an ipykernel prints when it is given no parent, for whoever started it on a terminal."""


def without_note(lines: list[bytes]) -> list[bytes]:
    """Lines of a kernel without those that an ipykernel prints for whoever has started it on a terminal."""
    if not any(line.startswith(OF_A_TERMINAL) for line in lines):
        return lines
    return [line for line in lines if line.strip() and not line.startswith(OF_A_TERMINAL)]
