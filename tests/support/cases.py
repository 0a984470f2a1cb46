"""Many cases in one test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def for_each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test for each of its cases, which are given as to `pytest.mark.parametrize`.

    It is one test to pytest, which needs longer to set one up than most cases take. All cases are tried, and an
    `ExceptionGroup` names those that fail. They share the test's fixtures, so it must leave these as they are.
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def try_all(**fixtures: Any) -> None:
            failures = []
            for case in cases:
                arguments = dict(zip(names, case if len(names) > 1 else [case], strict=True))
                try:
                    test(**fixtures, **arguments)
                except Exception as exc:
                    exc.add_note(f"case: {arguments!r}")
                    failures.append(exc)
            if failures:
                raise ExceptionGroup(f"{len(failures)} cases failed", failures)

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in names]
        try_all.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return try_all

    return decorate
