"""Signatures, against the standard library's hmac."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.errors import BadSignature
from fps_kernels.kernel_driver.signer import Signer

from ..support.cases import for_each

PARTS = [b'{"msg_type":"status"}', b"{}", b"{}", b'{"execution_state":"idle"}']


@given(st.binary(min_size=1, max_size=200), st.lists(st.binary(max_size=50), min_size=4, max_size=4))
def test_signature_is_the_hmac_of_the_standard_library(key: bytes, frames: list[bytes]) -> None:
    expected = hmac.new(key, b"".join(frames), hashlib.sha256).hexdigest().encode()
    assert Signer(key).sign(frames) == expected


@for_each("name", ["md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "blake2b"])
def test_keys_around_the_block_size_of_each_hash(name: str) -> None:
    for length in (1, 63, 64, 65, 127, 128, 129, 1000):
        key = (bytes(range(1, 256)) * 4)[:length]
        expected = hmac.new(key, b"".join(PARTS), name).hexdigest().encode()
        assert Signer(key, f"hmac-{name}").sign(PARTS) == expected, length


@for_each("size", [16_383, 16_384, 16_385, 1_000_000])
def test_large_content_is_signed_like_small_one(size: int) -> None:
    frames = [*PARTS[:3], b"c" * size]
    assert Signer(b"key").sign(frames) == hmac.new(b"key", b"".join(frames), "sha256").hexdigest().encode()


def test_buffers_are_not_signed() -> None:
    signer = Signer(b"key")
    assert signer.sign([*PARTS, b"buffer"]) == signer.sign(PARTS)


def test_signing_twice_gives_the_same() -> None:
    signer = Signer(b"key")
    assert signer.sign(PARTS) == signer.sign(PARTS)


def test_without_key_nothing_is_signed_and_everything_is_believed() -> None:
    signer = Signer(b"")
    assert signer.sign(PARTS) == b""
    signer.verify(b"anything", PARTS)


@for_each("position", range(4))
def test_a_change_in_any_signed_part_is_seen(position: int) -> None:
    signer = Signer(b"key")
    signature = signer.sign(PARTS)
    frames = list(PARTS)
    frames[position] += b" "
    signer.verify(signature, PARTS)
    with pytest.raises(BadSignature):
        signer.verify(signature, frames)


@for_each("signature", [b"", b"0" * 64, b"\xff" * 64, "é".encode()])
def test_a_wrong_signature_is_seen(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        Signer(b"key").verify(signature, PARTS)


def test_a_signature_with_another_key_is_seen() -> None:
    with pytest.raises(BadSignature):
        Signer(b"key").verify(Signer(b"another").sign(PARTS), PARTS)


@for_each("scheme", ["", "sha256", "hmac-", "hmac-nonsense", "HMAC-sha256", "hmac-shake_128"])
@for_each("key", [b"key", b"k" * 1000])
def test_an_unknown_scheme_is_refused_when_the_signer_is_made(scheme: str, key: bytes) -> None:
    with pytest.raises(ValueError, match="unknown signature scheme"):
        Signer(key, scheme)
