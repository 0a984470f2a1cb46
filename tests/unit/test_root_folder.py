"""The folder that is served, and the page that is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from fps_kernels.errors import BadOption
from fps_kernels.hosts.asphalt.lab.root_folder import RootFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a notebook in a folder of it."""
    folder = tmp_path.resolve() / "work"
    (folder / "in ner").mkdir(parents=True)
    (folder / "in ner" / "ä#?.ipynb").touch()
    monkeypatch.chdir(folder)
    return folder


def test_what_is_served_and_opened(folder: Path) -> None:
    inner = folder / "in ner"
    cases = {
        (None, None): (folder, "lab"),
        (None, "."): (folder, "lab"),
        (None, "in ner"): (inner, "lab"),
        (None, "in ner/ä#?.ipynb"): (inner, "lab/tree/%C3%A4%23%3F.ipynb"),
        (".", "in ner/ä#?.ipynb"): (folder, "lab/tree/in%20ner/%C3%A4%23%3F.ipynb"),
        (".", "in ner"): (folder, "lab/tree/in%20ner"),
        ("in ner", None): (inner, "lab"),
        ("in ner/..", str(folder)): (folder, "lab"),
    }
    for (root_dir, path), (served, page) in cases.items():
        assert RootFolder.of(root_dir, path) == RootFolder(served, page), (root_dir, path)


def test_links_are_followed_before(folder: Path) -> None:
    (folder / "link").symlink_to("in ner")
    assert RootFolder.of("link", None).folder == folder / "in ner"
    assert RootFolder.of(".", "link/ä#?.ipynb").page == "lab/tree/in%20ner/%C3%A4%23%3F.ipynb"


def test_what_cannot_be_served(folder: Path) -> None:
    (folder / "circle").symlink_to("circle")
    for root_dir, path in [
        ("none", None),
        (None, "none"),
        ("in ner/ä#?.ipynb", None),
        ("in ner", "."),
        (None, "circle"),
    ]:
        with pytest.raises(BadOption):
            RootFolder.of(root_dir, path)
    with pytest.raises(BadOption):
        RootFolder.of(None, "\0")


def test_a_folder_that_is_gone(folder: Path) -> None:
    root = RootFolder.of("in ner", None)
    (folder / "in ner").rename(folder / "other")
    with pytest.raises(BadOption, match="No such file"):
        root.enter()
