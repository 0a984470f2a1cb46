"""How many examples hypothesis tries in tests that want more, or fewer, than others."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> int:
    """As many as this of the profile `thorough`, which tries 100 in other tests; fewer of one that tries fewer."""
    return max(1, number * settings().max_examples // 100)
