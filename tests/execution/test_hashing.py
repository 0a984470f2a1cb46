"""The hash of a source is the one that ipykernel computes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86

from fps_kernels.execution.hashing import murmur2

HASH_BITS = 32


@pytest.mark.parametrize(
    "text", ["", "a", "ab", "abc", "abcd", "print('hello')\n", "é", "😀😀", "x" * 1001, "\x00\x00\x00", "ÿ" * 7]
)
def test_the_hash_is_that_of_the_kernel(text: str) -> None:
    assert murmur2(text) == murmur2_x86(text, 0)


@given(st.text(), st.integers(0, 2**HASH_BITS - 1))
def test_the_hash_is_that_of_the_kernel_for_any_text_and_seed(text: str, seed: int) -> None:
    assert murmur2(text, seed) == murmur2_x86(text, seed)
    assert 0 <= murmur2(text, seed) < 2**HASH_BITS
