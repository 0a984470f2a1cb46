"""What a server that was killed has left is removed, and nothing else."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fps_kernels.ledger import SPARE_LINES, Ledger, key_print, print_of, sweep

KEY = b"the-key"
CONNECTION = json.dumps({"key": KEY.decode(), "shell_port": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return folder


def write(path: Path, ledger: Ledger, text: str = CONNECTION) -> Path:
    ledger.add(path, print_of(text.encode()))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text)
    return path


def kill(ledger: Ledger) -> None:
    """As kill -9 does: the lock is gone, and the ledger stays."""
    assert ledger._descriptor is not None
    os.close(ledger._descriptor)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_the_files_of_a_dead_server_are_removed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ledger = Ledger(folder)
    for name in ("kernel-a.json", "kernel-a-1f.json", "prewarmed/kernel-b.json"):
        write(folder / name, ledger)
    write(folder / "fps-kernels-1-open.html", ledger, "<html>")
    kill(ledger)
    assert len(sweep(folder)) == 4
    assert names(folder) == []
    [record] = caplog.records
    assert "removed what a server that was killed has left" in record.getMessage()
    assert sweep(folder) == []


def test_those_of_a_living_server_are_left(folder: Path) -> None:
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    before = names(folder)
    assert sweep(folder) == []
    assert names(folder) == before
    assert len(before) == 2
    ledger.close()
    ledger.close()
    assert names(folder) == ["kernel-a.json"]


def test_a_file_that_was_removed_is_not_a_dead_servers_any_more(folder: Path) -> None:
    ledger = Ledger(folder)
    path = write(folder / "kernel-a.json", ledger)
    ledger.remove(path)
    ledger.remove(folder / "kernel-never.json")
    kill(ledger)
    assert sweep(folder) == []
    assert names(folder) == ["kernel-a.json"]  # without the ledger


def _link(path: Path) -> None:
    path.rename(path.parent.parent / "theirs")
    path.symlink_to(path.parent.parent / "theirs")


def _other_key(path: Path) -> None:
    path.write_text(json.dumps({"key": "another"}))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.write_text(CONNECTION + " " * 70_000)


def _no_json(path: Path) -> None:
    path.write_bytes(b"\xff{")


@pytest.mark.parametrize("becomes", [_link, _other_key, _folder, _fifo, _huge, _no_json])
def test_what_is_no_longer_the_file_that_was_written_down_is_left(
    folder: Path, becomes: Callable[[Path], None]
) -> None:
    ledger = Ledger(folder)
    path = write(folder / "kernel-a.json", ledger)
    becomes(path)
    kill(ledger)
    assert sweep(folder) == []
    assert os.path.lexists(path)


def test_a_file_that_its_kernel_has_written_again_is_removed(folder: Path) -> None:
    ledger = Ledger(folder)
    path = write(folder / "kernel-a.json", ledger)
    path.write_text(json.dumps({"key": KEY.decode(), "shell_port": 2, "more": True}))
    kill(ledger)
    assert sweep(folder) == ["kernel-a.json"]


@pytest.mark.parametrize(
    "name", ["../kernel-a.json", "/etc/passwd", "a/b/kernel.json", "..", "../..", ".hidden/x", "-/.."]
)
def test_a_ledger_leads_nowhere_else(folder: Path, name: str) -> None:
    outside = folder.parent / "kernel-a.json"
    outside.write_text(CONNECTION)
    ledger = Ledger(folder)
    write(folder / "kernel-b.json", ledger)
    assert ledger._descriptor is not None
    os.write(ledger._descriptor, f"+ {key_print(KEY)} {name}\n".encode())
    kill(ledger)
    assert sweep(folder) == ["kernel-b.json"]
    assert outside.exists()


def test_a_linked_folder_below_is_not_entered(folder: Path) -> None:
    ledger = Ledger(folder)
    write(folder / "prewarmed" / "kernel-a.json", ledger)
    (folder / "prewarmed").rename(folder.parent / "elsewhere")
    (folder / "prewarmed").symlink_to(folder.parent / "elsewhere")
    kill(ledger)
    assert sweep(folder) == []
    assert (folder.parent / "elsewhere" / "kernel-a.json").exists()


@pytest.mark.parametrize(
    "head",
    [
        '{"host": "elsewhere", "boot": "another"}',
        '{"host": "", "boot": ""}',
        "{}",
        "[]",
        "null",
        "{",
        "",
    ],
)
def test_a_ledger_of_another_machine_or_none_is_left(folder: Path, head: str) -> None:
    """A lock says nothing where a folder is shared and its locks are not."""
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    kill(ledger)
    [path] = folder.glob(".fps-kernels-*.ledger")
    path.write_text("\n".join([head, *path.read_text().splitlines()[1:]]))
    assert sweep(folder) == []
    assert (folder / "kernel-a.json").exists()


def test_a_ledger_of_the_boot_before_counts(folder: Path) -> None:
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    kill(ledger)
    [path] = folder.glob(".fps-kernels-*.ledger")
    path.write_text(
        "\n".join([json.dumps({"host": socket.gethostname(), "boot": "x"}), *path.read_text().splitlines()[1:]])
    )
    assert sweep(folder) == ["kernel-a.json"]


@pytest.mark.parametrize("what", ["the folder", "the ledger"])
def test_what_others_can_write_to_is_not_believed(folder: Path, what: str) -> None:
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    kill(ledger)
    [path] = folder.glob(".fps-kernels-*.ledger")
    (folder if what == "the folder" else path).chmod(0o777)
    assert sweep(folder) == []
    assert (folder / "kernel-a.json").exists()


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder"])
def test_what_only_looks_like_a_ledger_is_left(folder: Path, kind: str) -> None:
    path = folder / ".fps-kernels-0.ledger"
    if kind == "link":
        path.symlink_to(folder.parent / "nowhere")
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert sweep(folder) == []
    assert os.path.lexists(path)


def test_a_folder_that_was_removed_has_a_new_ledger(folder: Path) -> None:
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    ledger.add(folder / "kernel-b.json", key_print(KEY))
    (folder / "kernel-b.json").write_text(CONNECTION)
    kill(ledger)
    assert sweep(folder) == ["kernel-b.json"]


def test_a_ledger_does_not_grow_without_end(folder: Path) -> None:
    ledger = Ledger(folder)
    kept = write(folder / "kernel-kept.json", ledger)
    for number in range(4 * SPARE_LINES):
        ledger.add(folder / f"kernel-{number}.json", key_print(KEY))
        ledger.remove(folder / f"kernel-{number}.json")
    [path] = folder.glob(".fps-kernels-*.ledger")
    assert len(path.read_text().splitlines()) <= SPARE_LINES + 10
    kill(ledger)
    assert sweep(folder) == [kept.name]


def test_sockets_to_which_nobody_listens_go_with_their_kernel(folder: Path) -> None:
    ledger = Ledger(folder)
    write(folder / "kernel-a.json", ledger)
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as living:
        dead.bind(str(folder / "kernel-a-ipc-1"))
        living.bind(str(folder / "kernel-a-ipc-2"))
        living.listen()
        (folder / "kernel-a-ipc-3").touch()
        kill(ledger)
        assert sweep(folder) == ["kernel-a.json"]
    assert names(folder) == ["kernel-a-ipc-2", "kernel-a-ipc-3"]


def test_where_no_ledger_can_be_made_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / "file")
    ledger.add(tmp_path / "file" / "kernel-a.json", key_print(KEY))
    ledger.close()
    assert sweep(tmp_path / "file") == sweep(tmp_path / "nowhere") == []
