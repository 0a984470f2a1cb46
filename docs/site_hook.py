"""What mkdocs does besides: it publishes what is outside of docs/, and writes the reference pages.

The pages link to files of the repository as they are read on GitHub: `../CONTRIBUTING.md`, `../deploy/alerts.yml`. On
the site these are pages, too. Documents at the top of the repository have a page under a name of their own; of every
other file that a page links to, a page shows the text.

Reference pages are made when the site is built, not kept in the repository, where each change to an option or a route
would be there twice: the text of such a page is kept, with a marker in the place of what is made.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import configuration_reference
import rest_reference

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "COPYING.md": "license.md",
    "README.md": "readme.md",
    "SECURITY.md": "security-policy.md",
}
"""Pages that stand elsewhere: path in the repository, path on the site."""
FILES = "files"
"""The folder of the site for all other files that pages link to."""
REFERENCES: dict[str, Callable[[], Iterator[str]]] = {
    "configuration": configuration_reference.lines,
    "rest": rest_reference.lines,
}
"""What makes the lines that stand in the place of a marker."""
MARKER = re.compile(r"^<!-- reference: (\w+) -->.*?^<!-- end of reference -->$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(#[^)\s]*)?(?=\))")
NAMED_BY_FILE = re.compile(r"\[((?:[\w-]+/)*([\w-]+\.md))\]\(((?:\.\./|[\w-]+/)*\2)(?=[#)])")
LANGUAGES = {
    ".conf": "nginx",
    ".json": "json",
    ".py": "python",
    ".service": "ini",
    ".socket": "ini",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def expand(text: str) -> str:
    """A page's text with what is made for it."""
    return MARKER.sub(lambda found: "\n".join(REFERENCES[found[1]]()), text)


def repository_path(page: str) -> str:
    """The path in the repository of a page of the site."""
    return {site: path for path, site in DOCUMENTS.items()}.get(page) or (
        page.removeprefix(f"{FILES}/") if page.startswith(f"{FILES}/") else f"docs/{page}"
    )


def site_path(path: str) -> str:
    """The path on the site of a file or folder of the repository; that of a page, but for pictures."""
    path = document(path)
    if path in DOCUMENTS:
        return DOCUMENTS[path]
    inner = PurePosixPath(path)
    if inner.parts[0] == "docs" and inner.suffix in (".md", ".png"):
        return str(inner.relative_to("docs"))
    return f"{FILES}/{path}" if inner.suffix == ".md" else f"{FILES}/{path}.md"


def document(path: str) -> str:
    """What stands for a path of the repository: of a folder its README, if it has one."""
    return f"{path}/README.md" if (ROOT / path / "README.md").is_file() else path


def outside_of_fences(text: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def targets(path: str, text: str) -> Iterator[str]:
    """The files of the repository that a page links to, and folders without a README.

    path: its own, in the repository.
    """
    found: list[str] = []
    outside_of_fences(text, lambda part: found.extend(one[1] for one in LINK.finditer(part)) or part)
    for link in found:
        target = os.path.normpath(os.path.join(os.path.dirname(path), link))
        if not target.startswith("..") and (ROOT / target).exists():
            yield document(target)


def relink(path: str, text: str) -> str:
    """The text with links between pages of the site. path: the page's in the repository."""
    folder = os.path.dirname(site_path(path))

    def replaced(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(path), found[1]))
        if target.startswith("..") or not (ROOT / target).exists():
            return found[0]  # mkdocs says what is wrong
        return os.path.relpath(site_path(target), folder or ".") + (found[2] or "")

    return outside_of_fences(text, lambda part: LINK.sub(replaced, part))


def with_titles(path: str, text: str, titles: Mapping[str, str]) -> str:
    """The text with titles in the place of the names of files by which pages call each other, as GitHub shows them.

    path: the page's in the repository. titles: by paths on the site.
    """

    def replaced(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(path), found[3]))
        return f"[{titles.get(site_path(target), found[1])}]({found[3]}"

    return outside_of_fences(text, lambda part: NAMED_BY_FILE.sub(replaced, part))


def titles_of(nav: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Path and title of each page in the navigation."""
    for entry in nav:
        if isinstance(entry, dict):
            for title, value in entry.items():
                if isinstance(value, str):
                    yield value, title
                else:
                    yield from titles_of(value)


def shown(path: str) -> str:
    """A page that shows a file, or has the list of a folder's files; a document is the page itself."""
    file = ROOT / path
    if file.suffix == ".md":
        return file.read_text()
    title = f"# {path}\n\n"
    if file.is_dir():
        names = sorted(one.name for one in file.iterdir() if not one.name.startswith((".", "_")))
        return title + "\n".join(f"- [{name}]({file.name}/{name})" for name in names) + "\n"
    text = file.read_text()
    language = LANGUAGES.get(file.suffix) or ("bash" if text.startswith("#!") else "text")
    return f"{title}````{language}\n{text.rstrip()}\n````\n"


def site_pages() -> dict[str, str]:
    """The text of each page that does not stand in docs/, by its path on the site."""
    pages = {site: (ROOT / path).read_text() for path, site in DOCUMENTS.items()}
    waiting = [(path, (ROOT / path).read_text()) for path in DOCUMENTS]
    waiting += [(f"docs/{page.relative_to(ROOT / 'docs')}", page.read_text()) for page in (ROOT / "docs").rglob("*.md")]
    while waiting:
        for target in targets(*waiting.pop()):
            site = site_path(target)
            if site.startswith(f"{FILES}/") and site not in pages:
                pages[site] = shown(target)
                waiting.append((target, pages[site]))
    return pages


def breakable(html: str) -> str:
    """The HTML with places in the names that stand in tables where a line may be broken: between their words."""

    def code(found: re.Match[str]) -> str:
        return f"<code>{re.sub(r'(?<=[_.=/])(?=[A-Za-z])', '<wbr>', found[1])}</code>"

    return re.sub(
        r"<td[ >].*?</td>", lambda cell: re.sub(r"<code>([^<]*)</code>", code, cell[0]), html, flags=re.DOTALL
    )


# --- what mkdocs calls ---------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    config["nav"] = list(map(_with_folders, config["nav"]))
    return config


def _with_folders(entry: Any) -> Any:
    """An entry of the navigation with the pages of a folder in the place of the folder."""
    if isinstance(entry, str):
        return entry
    [(title, value)] = entry.items()
    if isinstance(value, str) and value.endswith("/"):
        pages = sorted((ROOT / "docs" / value).glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
        return {title: [f"{value}{page.name}" for page in pages]}
    return {title: list(map(_with_folders, value))} if isinstance(value, list) else entry


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File, InclusionLevel

    for site, text in site_pages().items():
        in_nav = site in DOCUMENTS.values() and site != "readme.md"
        level = InclusionLevel.UNDEFINED if in_nav else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, site, content=text, inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    path = repository_path(page.file.src_uri)
    return relink(path, with_titles(path, expand(markdown), dict(titles_of(config["nav"]))))


def on_page_content(html: str, **_: Any) -> str:
    return breakable(html)
