"""What a page is told of a file before it saves."""

from __future__ import annotations

from fps_kernels.hosts.asphalt.lab.contents.shared_files import LONG_AGO, MAX_FILES, SharedFiles

MODEL = {"path": "a.ipynb", "hash": "ours", "hash_algorithm": "sha256", "last_modified": "2026-01-01T00:00:00Z"}


def test_the_hash_is_left_open_while_a_document_holds_the_file() -> None:
    shared = SharedFiles()
    shared.in_step("/a.ipynb", "ours")
    told = shared.for_page("a.ipynb", MODEL)
    assert (told["hash"], told["hash_algorithm"], told["last_modified"]) == (None, None, LONG_AGO)


def test_the_hash_is_told_of_what_another_program_has_written() -> None:
    shared = SharedFiles()
    shared.in_step("a.ipynb", "before")
    assert shared.for_page("a.ipynb", MODEL) is MODEL
    assert shared.for_page("b.ipynb", MODEL) is MODEL


def test_a_folder_has_no_hash() -> None:
    folder = {"path": "", "last_modified": "2026-01-01T00:00:00Z"}
    assert SharedFiles().for_page("", folder) is folder


def test_the_files_that_are_remembered_are_bounded() -> None:
    shared = SharedFiles()
    for number in range(MAX_FILES + 1):
        shared.in_step(str(number), "ours")
    assert shared.for_page("0", MODEL) is MODEL
    assert shared.for_page("1", MODEL) is not MODEL
