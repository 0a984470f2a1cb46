"""A file that another program has renamed is found again, and no other is taken for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fps_kernels.hosts.asphalt.lab.contents import moved_files
from fps_kernels.hosts.asphalt.lab.contents.moved_files import Seen, find_again, look_at


def made(path: Path) -> Seen:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    seen = look_at(path)
    assert seen is not None
    return seen


@pytest.mark.parametrize("new", ["b", "sub/b", "../b", "../beside/deep/a"])
def test_it_is_found_where_it_has_gone(tmp_path: Path, new: str) -> None:
    seen = made(tmp_path / "root" / "folder" / "a")
    target = tmp_path / "root" / "folder" / new
    target.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "root" / "folder" / "a").rename(target)
    expected = os.path.relpath(target, tmp_path / "root")
    assert find_again(tmp_path / "root", "folder/a", seen) == expected


def test_it_is_found_when_its_folder_has_another_name(tmp_path: Path) -> None:
    seen = made(tmp_path / "sub" / "deep" / "a")
    (tmp_path / "sub").rename(tmp_path / "other")
    assert find_again(tmp_path, "sub/deep/a", seen) == "other/deep/a"


def test_a_new_file_with_the_same_inode_is_another(tmp_path: Path) -> None:
    seen = made(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    os.utime(tmp_path / "b", ns=(seen.changed_ns, seen.changed_ns + 1))
    assert find_again(tmp_path, "a", seen) is None


def test_a_second_name_of_a_deleted_file_is_none_that_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("text")
    os.link(tmp_path / "b", tmp_path / "a")
    seen = look_at(tmp_path / "a")
    assert seen is not None
    (tmp_path / "a").unlink()
    assert find_again(tmp_path, "a", seen) is None


def test_what_is_hidden_outside_or_behind_a_link_is_not_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in (".hidden/a", "../outside/a"):
        seen = made(root / "a")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "a").rename(root / name)
        (root / "link").unlink(missing_ok=True)
        (root / "link").symlink_to((root / name).parent)
        assert find_again(root, "a", seen) is None


def test_the_search_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = made(tmp_path / "a")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").rename(tmp_path / "sub" / "a")
    assert find_again(tmp_path, "a", seen) == "sub/a"
    monkeypatch.setattr(moved_files, "MAX_ENTRIES", 1)
    assert find_again(tmp_path, "a", seen) is None
