"""The commands of the documentation do what their pages say: each is run as it stands, or the page says that it is not.

test_page_blocks.py holds that there is no third kind. Nothing is installed: `pip install` only looks whether the extras
exist; test_docs_commands.py and .ci/run install for real.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..support.page_session import PageSession, fits
from ..support.pages import Block, blocks_of, page_paths
from ..support.programs import need

PAGES = [page for page in page_paths() if any(block.is_run for block in blocks_of(page))]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_can_be_run_from_first_to_last(page: str, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.is_run]
    for program in ("curl", "prometheus"):
        if any(program in block.text for block in blocks):
            need(program)
    PageSession(tmp_path).run(blocks)


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("bash", "true\nfalse\n", "page.md:7: exit code 1"),
        ("bash", "fps-kernels --KernelGatewayApp.port=70000\n", "should be less than or equal to 65535"),
        ("bash", "pip install '.[no-such-extra]'\n", "there is no extra no-such-extra"),
        ("bash", "pip install no-such-package\n", "no-such-package is not in the environment"),
        ("console", "$ echo 1\n2\n", "echo 1\n\nprints\n1"),
        ("console", "$ exit 3\n", "exit code 3"),
        ("python", "raise SystemExit(4)\n", "exit code 4"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, language: str, text: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(reason)):
        PageSession(tmp_path).run([Block("page.md", 7, language, text, "", "", "")])


def test_what_is_printed_is_compared() -> None:
    assert fits("a\n", "a\n")
    assert fits("a … c\n", "a b\nb c\n")
    assert not fits("a\n", "a\nb\n")
    assert not fits("a … c\n", "a b\n")
