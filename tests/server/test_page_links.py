"""Links of the documentation, as GitHub follows them: files and headings of the repository are there.

Of links on the site that is held by `mkdocs build --strict`, see .ci/run. Of links to elsewhere only the form is looked
at: tests ask nobody on the internet.
"""

from __future__ import annotations

import os.path
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..support.pages import ROOT, page_paths, site_hook

PAGES = [*page_paths(), "tests/README.md", "labextension/README.md"]
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]*)\)|<(https?://[^>\s]*)>")
HEADING = re.compile(r"^#{1,6} +(.+?)(?: *\{ *#[\w-]+ *\})?$", re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))


@cache
def anchors(path: str) -> set[str]:
    """What GitHub calls the headings of a page: their letters, digits, hyphens and underscores, with - for a space."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(FENCED.sub("", (ROOT / path).read_text())):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if number == 0 else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}


def links_of(path: str) -> list[str]:
    return [one or other for one, other in LINK.findall(without_code((ROOT / path).read_text()))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    wrong = []
    for link in links_of(page):
        if urlsplit(link).scheme:
            continue
        target, _, anchor = link.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
        if not (ROOT / path).exists() or path.startswith(".."):
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(path):
            wrong.append(f"{link}: no such heading among {sorted(anchors(path))}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_links_to_elsewhere_are_urls(page: str) -> None:
    for link in links_of(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("http", "https", "mailto"), link
            assert parts.hostname is not None, link
            assert "." in parts.hostname, link


@pytest.mark.parametrize("page", PAGES)
def test_no_heading_is_there_twice(page: str) -> None:
    """A link to the second one would change when one is added above."""
    if page != "CHANGELOG.md":  # whose releases have the same parts
        assert [slug for slug in anchors(page) if re.search(r"-\d+$", slug) and slug[:-2] in anchors(page)] == []


def test_links_of_the_site_are_between_its_pages() -> None:
    relink = site_hook()["relink"]
    assert relink("docs/gateway.md", "[a](../CONTRIBUTING.md#style)") == "[a](contributing.md#style)"
    assert relink("docs/decisions/README.md", "[a](../lab.md)") == "[a](../lab.md)"
    assert relink("README.md", "[a](docs/lab.md#files)") == "[a](lab.md#files)"
    assert relink("docs/lab.md", "[a](https://example.org/x.md)") == "[a](https://example.org/x.md)"
    assert relink("docs/lab.md", "[a](nothing.md)") == "[a](nothing.md)"
    assert relink("docs/lab.md", "```\n[a](../README.md)\n```\n") == "```\n[a](../README.md)\n```\n"
    assert relink("docs/operating.md", "[a](../deploy/alerts.yml)") == "[a](files/deploy/alerts.yml.md)"


def test_pages_of_the_site_are_called_by_their_titles() -> None:
    def titled(text: str) -> str:
        return str(site_hook()["with_titles"]("README.md", text, {"lab.md": "JupyterLab"}))

    assert titled("[docs/lab.md](docs/lab.md#files)") == "[JupyterLab](docs/lab.md#files)"
    assert titled("[these](docs/lab.md)") == "[these](docs/lab.md)"
    assert titled("[tests/README.md](tests/README.md)") == "[tests/README.md](tests/README.md)"


def test_names_in_tables_may_be_broken_between_words() -> None:
    breakable = site_hook()["breakable"]
    assert breakable("<td><code>a_b.c</code></td>") == "<td><code>a_<wbr>b.<wbr>c</code></td>"
    assert breakable("<p><code>a_b</code></p>") == "<p><code>a_b</code></p>"


def test_files_outside_of_the_documentation_are_pages_of_the_site() -> None:
    pages = site_hook()["site_pages"]()
    assert pages["changelog.md"] == (ROOT / "CHANGELOG.md").read_text()
    assert (ROOT / "deploy" / "alerts.yml").read_text().rstrip() in pages["files/deploy/alerts.yml.md"]
    for name in os.listdir(ROOT / "deploy"):
        if Path(ROOT, "deploy", name).is_file():
            assert f"[{name}](deploy/{name})" in pages["files/deploy.md"]
