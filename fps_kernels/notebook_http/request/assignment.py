"""Assign: a request as code that sets the variable REQUEST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from starlette.types import Scope

from .literals import assignment, declaration
from .request_variable import request_json

NAME = "REQUEST"
"""The name of the variable."""
INLINE_BYTES = 64 * 1024
"""Larger bodies are converted in a thread: a body of JSON takes 50 ms for each MiB."""


class Assignment(NamedTuple):
    """Code that sets REQUEST, and the declaration that some languages need before; "" in the others."""

    code: str
    declaration: str


async def assign(language: str, scope: Scope, parameters: Mapping[str, str], body: bytes) -> Assignment:
    """The code that tells a cell of a request, in the language of the kernel. Raises MalformedMultipart."""

    def make() -> Assignment:
        text = request_json(scope["headers"], scope["query_string"], parameters, body)
        return Assignment(assignment(language, NAME, text), declaration(language, NAME))

    return await asyncio.to_thread(make) if len(body) > INLINE_BYTES else make()
