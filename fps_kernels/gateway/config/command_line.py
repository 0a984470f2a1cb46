"""What may stand on the gateway's command line: a misspelled --auth_token must not lead to a server without one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from ...errors import BadOption


def check_words(argv: Sequence[str], known: Collection[str]) -> None:
    """Raises BadOption for an option that does not exist. Those of classes, which have a dot, are traitlets' to check.

    known: the names of options, without --.
    """
    for word in argv:
        if word == "--":
            return
        name, _, _ = word.removeprefix("--").partition("=")
        if word.startswith("--") and "." not in name and name not in known:
            raise BadOption(f"--{name}: there is no such option{did_you_mean(name, known, '--')}")


def did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    """The end of an error about a name that is not known."""
    spelled = {one.replace("-", "_"): one for one in known}
    found = difflib.get_close_matches(name.replace("-", "_"), spelled, n=1)
    return f". Do you mean {prefix}{spelled[found[0]]}?" if found else ""
