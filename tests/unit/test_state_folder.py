"""The folder of what outlives a server."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.state_folder import default_state_dir, network_filesystem, open_state_folder


def refusal(folder: Path) -> str:
    with pytest.raises(BadOption) as refused:
        open_state_folder(str(folder))
    assert "\n" not in refused.value.message
    assert refused.value.message.startswith(f"state_dir={folder}: ")
    return refused.value.message


def test_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = open_state_folder(str(tmp_path / "a" / "state"))
    assert folder == tmp_path / "a" / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert open_state_folder(str(folder)) == folder


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o1777, 0o770])
def test_one_that_others_can_look_into_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    assert f"mode {mode:04o}" in refusal(folder)


@pytest.mark.parametrize("mode", [0o500, 0o400])
def test_one_that_cannot_be_written_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    assert refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    assert "belongs to another user (12345)" in refusal(folder)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(tmp_path / "real")
    assert "it is a link" in refusal(tmp_path / "state")


def test_a_link_that_leads_nowhere_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    assert "it is a link" in refusal(tmp_path / "state")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "cannot be opened: Not a directory" in refusal(tmp_path / "state")
    assert refusal(tmp_path / "state" / "below")


def test_one_below_a_folder_in_which_everybody_can_exchange_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "everybody can rename" in refusal(tmp_path / "open" / "state")


def test_the_default_is_in_the_runtime_folder_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_state_dir() == tmp_path / "fps-kernels"
    assert open_state_folder(None) == tmp_path / "fps-kernels"


@pytest.mark.parametrize("value", ["", "relative", "/does/not/exist", "/etc/passwd"])
def test_without_such_a_folder_the_default_is_in_tmp(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert default_state_dir() == Path(f"/tmp/fps-kernels-{os.geteuid()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_runtime_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(tmp_path, 12345, 12345)  # as with sudo -E
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_state_dir() == Path("/tmp/fps-kernels-0")


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:40 / /home rw,relatime shared:2 master:3 - nfs4 server:/home rw,vers=4.2
23 21 0:41 / /run rw - tmpfs tmpfs rw
garbage
24 21 0:42 / /media/a\\040b rw - fuse.sshfs host:/ rw""".splitlines()


@pytest.mark.parametrize(
    ("major", "minor", "kind"), [(8, 1, None), (0, 40, "nfs4"), (0, 41, None), (0, 42, "fuse.sshfs"), (9, 9, None)]
)
def test_a_filesystem_of_a_network(major: int, minor: int, kind: str | None) -> None:
    assert network_filesystem(os.makedev(major, minor), MOUNTS) == kind


def test_one_on_a_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 21 {os.major(device)}:{os.minor(device)} / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr("fps_kernels.state_folder.MOUNTS", mounts)
    assert "other machines may share (nfs4)" in refusal(tmp_path / "state")
