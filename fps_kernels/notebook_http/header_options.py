"""The options of a header, as in `text/plain; charset=utf-8`. Pure."""

from __future__ import annotations

import re

_OPTION = re.compile(r';\s*([^=;\s"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPED = re.compile(r'\\(["\\])')


def header_options(value: str) -> tuple[str, dict[str, str]]:
    """What is before the options, in lower case, and the options, with their names in lower case.

    Of options with the same name the first counts. What is malformed is skipped.
    Not the standard library's email, which decodes `filename*=` as well: forms must not have it (RFC 7578, 4.2), and
    two names for one file are a way past whoever looks at one of them.
    """
    main, _, _ = value.partition(";")
    options: dict[str, str] = {}
    for name, option in _OPTION.findall(value[len(main) :]):
        if option.startswith('"') and option.endswith('"') and len(option) > 1:
            # Browsers escape no backslash, curl does: nothing else is an escape, as in C:\new.
            option = _ESCAPED.sub(r"\1", option[1:-1])
        else:
            option = option.strip()
        options.setdefault(name.lower(), option)
    return main.strip().lower(), options
