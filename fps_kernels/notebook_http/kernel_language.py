"""The language in which a kernel is told of requests: what the kernel says itself, not what its notebook says. Pure.

A literal that is harmless in one language can run code in another. A notebook is a file that anybody may have edited,
or that another kernel is forced on by an option; its kernel knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FPSKernelsError
from .request.literals import LANGUAGES, Language

MAX_NAME_CHARS = 100
"""Of a longer name, only so much is shown."""


class UnknownLanguage(FPSKernelsError):
    """There is no safe way to tell a kernel of a request."""


def name_of_language(kernel_info: Mapping[str, Any]) -> str:
    """The name of a kernel's language; "" if there is none. kernel_info: the content of a kernel_info_reply."""
    info = kernel_info.get("language_info")
    name = info.get("name") if isinstance(info, Mapping) else kernel_info.get("language")  # before protocol 5
    return name if isinstance(name, str) else ""


def language_of(kernel_info: Mapping[str, Any], request_literal: str) -> Language:
    """The language of a kernel.

    request_literal: the language whose literals are used for kernels of unknown languages, in lower case; "" for none.
    Raises UnknownLanguage.
    """
    name = name_of_language(kernel_info)
    if found := LANGUAGES.get(name.lower()):
        return found
    if request_literal:
        return LANGUAGES[request_literal]
    raise UnknownLanguage(
        f"the kernel's language is {name[:MAX_NAME_CHARS]!r}, in which it is not known how to write a request so that "
        f"no client can run code; use a kernel of {', '.join(LANGUAGES)}, or set "
        "NotebookHTTPPersonality.request_literal to the one of these that has the same string literals"
    )
