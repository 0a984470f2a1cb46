"""Files that hold keys: who else could write to them, and that nobody else's are touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fps_kernels.private_files import folder_problem, move_new, problem_of, read_regular


def make(folder: Path, mode: int) -> Path:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    return folder


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o1700, 0o500])
def test_a_folder_of_our_own(tmp_path: Path, mode: int) -> None:
    assert folder_problem(make(tmp_path / "own", mode)) is None


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o775, 0o707, 0o702, 0o2770, 0o1770])
def test_a_folder_that_others_can_write_to(tmp_path: Path, mode: int) -> None:
    assert "can be written to by others" in str(folder_problem(make(tmp_path / "shared", mode)))


def status(uid: int, mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))


def test_what_belongs_to_another_user() -> None:
    assert problem_of(status(os.geteuid(), stat.S_IFREG | 0o600)) is None
    assert problem_of(status(0, stat.S_IFREG | 0o644)) is None
    assert "belongs to another user" in str(problem_of(status(os.geteuid() + 1, stat.S_IFREG | 0o600)))


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert folder_problem(tmp_path / "a" / "b") is None
    make(tmp_path / "open", 0o777)
    assert "everybody can rename" in str(folder_problem(tmp_path / "open" / "a" / "b"))


def test_a_folder_below_one_in_which_anybody_can_exchange_it(tmp_path: Path) -> None:
    make(tmp_path / "open", 0o777)
    own = make(tmp_path / "open" / "own", 0o700)
    assert "everybody can rename" in str(folder_problem(own))
    (tmp_path / "open").chmod(0o1777)
    assert folder_problem(own) is None


def test_a_link_to_a_folder(tmp_path: Path) -> None:
    own = make(tmp_path / "own", 0o700)
    (tmp_path / "link").symlink_to(own)
    assert folder_problem(tmp_path / "link") is None
    own.chmod(0o777)
    assert folder_problem(tmp_path / "link") is not None
    own.chmod(0o700)
    (make(tmp_path / "open", 0o777) / "link").symlink_to(own)
    assert "everybody can rename" in str(folder_problem(tmp_path / "open" / "link"))


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folder_problem(tmp_path / "file") == "is not a folder"
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert folder_problem(tmp_path / "one" / "x") is not None


@pytest.fixture(params=["links", "no links"])
def filesystem(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with hard links, and one without."""
    if request.param == "no links":

        def link(source: object, target: Path) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("filesystem")
def test_a_file_is_moved_to_a_name_that_is_free(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch(0o600)
    source.write_text("content")
    move_new(source, target)
    assert not source.exists()
    assert target.read_text() == "content"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.usefixtures("filesystem")
@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link", "FIFO"])
def test_what_is_there_is_not_replaced(tmp_path: Path, kind: str) -> None:
    source, target, other = tmp_path / "source", tmp_path / "target", tmp_path / "other"
    source.write_text("content")
    match kind:
        case "file":
            target.write_text("theirs")
        case "folder":
            target.mkdir()
        case "link":
            other.write_text("theirs")
            target.symlink_to(other)
        case "dangling link":
            target.symlink_to(tmp_path / "nowhere")
        case "FIFO":
            os.mkfifo(target)
    before = target.lstat()
    with pytest.raises(FileExistsError):
        move_new(source, target)
    assert target.lstat() == before
    assert source.read_text() == "content"
    assert not (tmp_path / "nowhere").exists()


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    found, data = read_regular(file, 3)
    assert (found.st_size, data) == (5, b"1234")
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for other in (tmp_path / "link", tmp_path / "pipe", tmp_path / "folder", Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises(OSError, match=r".") as caught:
            read_regular(other, 3)
        assert caught.value.strerror
