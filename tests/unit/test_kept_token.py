"""A token that clients can use again after the server's next start."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fps_kernels.serving.access.secret_file import kept_token


def test_it_is_the_same_at_each_start(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = kept_token(path)
    assert len(token) == 48
    assert kept_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_token(tmp_path / "another") != token


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o644),
        lambda path: path.write_text(""),
        lambda path: path.write_text("short"),
        lambda path: path.write_bytes(b"\xff" * 48),
        lambda path: path.write_text("0" * 5000),
        lambda path: path.rename(path.with_name("real")) and path.symlink_to("real"),
    ],
    ids=["others can read it", "empty", "short", "binary", "long", "link"],
)
def test_a_file_that_cannot_be_trusted_gets_another_token(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "token"
    token = kept_token(path)
    spoil(path)
    assert kept_token(path) != token
    assert kept_token(path) == kept_token(path)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600


def test_without_a_file_there_is_a_token_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "token").mkdir()
    assert len(kept_token(tmp_path / "token")) == 48
    assert "lasts until the server ends" in caplog.text
    assert not [path for path in os.listdir(tmp_path) if path != "token"]
