"""Each block of code of the documentation is tested, or its page says that it is not. The rules: support/pages.py."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own

from ..support.pages import DATA, ROOT, RUNNABLE, Block, blocks_of, page_paths, page_text

ALL = [block for page in page_paths() for block in blocks_of(page)]
BLOCKS = [pytest.param(block, id=str(block)) for block in ALL]
COMMAND = re.compile(
    r"^(    |\t)\$? ?(fps-kernels|jupyter|curl|pip|python3?|docker|kubectl|systemctl|bash) ", re.MULTILINE
)


def test_there_are_blocks_that_are_run() -> None:
    """Otherwise nothing here could fail."""
    assert sum(block.is_run for block in ALL) > 40


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_tested_or_says_that_it_is_not(block: Block) -> None:
    assert block.language in (*RUNNABLE, *DATA), "its language decides how it is tested"
    match block.kind:
        case "":
            return
        case "tested by":
            test = (ROOT / block.says).read_text()
            assert block.page.rpartition("/")[2] in test, f"{block.says} does not name the page"
        case "command":
            assert block.page == "README.md"
            assert re.search(rf"(readme_command|install_as_said) {block.says}\b", (ROOT / ".ci" / "run").read_text())
        case "from":
            assert textwrap.dedent(block.text) in undented((ROOT / block.says).read_text(), block.text)
        case kind:
            pytest.fail(f"<!-- {kind}: … --> means nothing")


def undented(whole: str, part: str) -> str:
    """A file's text, indented less by as much as the line of it with which the part begins."""
    first = textwrap.dedent(part).split("\n", 1)[0]
    indents = [len(line) - len(line.lstrip()) for line in whole.splitlines() if line.lstrip() == first]
    assert indents, f"not in the file: {first}"
    return re.sub(rf"^ {{{indents[0]}}}", "", whole, flags=re.MULTILINE)


@pytest.mark.parametrize("block", [pytest.param(one, id=str(one)) for one in ALL if one.language in DATA])
def test_data_can_be_read(block: Block) -> None:
    match block.language:
        case "json" if "\n{" in block.text.strip():  # one on each line
            for line in block.text.splitlines():
                json.loads(line)
        case "json":
            json.loads(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "yaml":
            list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("page", page_paths())
def test_no_command_hides_in_an_indented_block(page: str) -> None:
    outside = re.sub(r"^(`{3,}).*?^\1$", "", page_text(page), flags=re.MULTILINE | re.DOTALL)
    found = COMMAND.search(outside)
    assert found is None, f"a block of commands has fences, so that it is tested: {found[0] if found else ''}"


def test_a_wrong_reason_is_no_reason() -> None:
    """A block is run when what should keep it from that is written in another way."""
    [block] = [one for one in blocks_of("CONTRIBUTING.md") if "pre-commit" in one.text]
    assert block.reason
