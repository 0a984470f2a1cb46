"""The options of a header, as in `text/plain; charset=utf-8`. Pure."""

from __future__ import annotations

import re

_OPTION = re.compile(r';\s*([^=;\s"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPED = re.compile(r'\\(["\\])')


def header_options(value: str) -> tuple[str, dict[str, str]]:
    """The value without its options, in lower case, and the options, with their names in lower case.

    Of several options with one name, the first counts. Malformed options are skipped.
    The standard library's `email` would also decode `filename*=`, which forms must not have (RFC 7578, 4.2): with two
    names for one file, a filter that looks at one of them could be bypassed.
    """
    main, _, _ = value.partition(";")
    options: dict[str, str] = {}
    for name, option in _OPTION.findall(value[len(main) :]):
        if option.startswith('"') and option.endswith('"') and len(option) > 1:
            # curl escapes backslashes, browsers do not. Nothing else is an escape: a name may be C:\new.
            option = _ESCAPED.sub(r"\1", option[1:-1])
        else:
            option = option.strip()
        options.setdefault(name.lower(), option)
    return main.strip().lower(), options


def with_charset(media_type: str) -> str:
    """The type of a text that is sent in UTF-8, with that charset: browsers guess another one where none is told."""
    kind, options = header_options(media_type)
    if "charset" in options or not (kind.startswith("text/") or kind == "application/javascript"):
        return media_type
    return f"{media_type}; charset=utf-8"
