"""The README says what is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from fps_kernels.hosts.asphalt.config import KernelsConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", ["README.md", "docs/gateway.md", "docs/jupyter-server.md"])
def test_the_tables_of_options_are_up_to_date(path: str) -> None:
    """If not: python docs/option_tables.py"""
    render = runpy.run_path(str(ROOT / "docs" / "option_tables.py"))["render"]
    text = (ROOT / path).read_text()
    emptied, count = re.subn(r"(<!-- options: \w+ -->\n).*?(<!-- end)", r"\1\2", text, flags=re.DOTALL)
    assert count > 0
    assert render(emptied) == text


def test_the_table_has_every_option_and_no_other() -> None:
    table = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(table) == sorted(KernelsConfig.model_fields)


def test_defaults_in_the_table_are_the_real_ones() -> None:
    for name, default in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README, re.MULTILINE):
        real = KernelsConfig.model_fields[name].default
        if real is None or real == "":
            continue  # found at run time; the table says where
        shown = str(real).lower() if isinstance(real, bool) else f"{real:g}" if isinstance(real, float) else str(real)
        assert default == shown, name


def test_units_in_the_table_agree_with_the_names() -> None:
    for name, unit in re.findall(r"^\| `(\w+_s)` \| [^|]+ \| (\w*) \|", README, re.MULTILINE):
        assert unit == "seconds", name


def test_pictures_are_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture


def test_each_command_is_one_line() -> None:
    commands = re.findall(r"<!-- command: \w+ -->\n```bash\n(.+)\n```", README)
    assert len(commands) == 4
