"""A command line of `jupyter lab`, in the words that ours has for the same."""

from __future__ import annotations

import pytest

from fps_kernels.hosts.asphalt.lab.jupyter_words import advice, in_own_words


@pytest.mark.parametrize(
    ("word", "own"),
    [
        ("--ServerApp.root_dir=/a b", ["--root-dir=/a b"]),
        ("--NotebookApp.notebook_dir=x", ["--notebook-dir=x"]),
        ("--LabApp.ip=::", ["--ip=::"]),
        ("--ServerApp.port_retries=0", ["--port-retries=0"]),
        ("--IdentityProvider.token=abc=", ["--token=abc="]),
        ("--ServerApp.token=", ["--no-token"]),
        ("--LabApp.open_browser=False", ["--no-browser"]),
        ("--ServerApp.open_browser=true", ["--open-browser"]),
        ("--ServerApp.allow_remote_access=True", ["--allow-remote-access"]),
        ("--ServerApp.allow_remote_access=False", []),
        ("--ServerApp.base_url=/a%20b", ["--set", "frontend.base_url=/a%20b/", "--set", "app.mount_path=/a b"]),
        ("--ServerApp.base_url=/", []),
        ("--MappingKernelManager.cull_idle_timeout=60", ["--set", "kernels.cull_idle_timeout_s=60"]),
        ("--ContentsManager.allow_hidden=True", ["--set", "contents.allow_hidden=True"]),
        ("--allow-root", []),
        ("--ServerApp.open_browser=maybe", ["--ServerApp.open_browser=maybe"]),
        ("--ServerApp.nothing=1", ["--ServerApp.nothing=1"]),
        ("--ServerApp.port", ["--ServerApp.port"]),
        ("--port=1", ["--port=1"]),
        ("a.ipynb", ["a.ipynb"]),
    ],
)
def test_a_word(word: str, own: list[str]) -> None:
    assert in_own_words([word]) == own


def test_what_follows_two_dashes_stays() -> None:
    assert in_own_words(["--allow-root", "--", "--allow-root"]) == ["--", "--allow-root"]


def test_advice() -> None:
    known = ["--token", "--port"]
    assert advice(["x", "--tokn=1"], known) == ". Do you mean --token?"
    assert advice(["--watch"], known).startswith(". --watch: it is for the development")
    assert advice(["--zzz"], known) == ""
