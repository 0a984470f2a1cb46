"""Tests that need a program which is missing say so."""

from __future__ import annotations

import sys

import pytest

from ..support.programs import REQUIRE, need

MISSING = "no-such-program is missing: apt-get install no-such-program"


def test_a_program_that_is_there_is_found() -> None:
    assert need(sys.executable) == sys.executable


def test_without_a_program_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        need("no-such-program")


def test_without_a_program_that_is_required_a_test_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE, "all")
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        need("no-such-program")
