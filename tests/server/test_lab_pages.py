"""JupyterLab's pages, settings, workspaces and exports: `fps-kernels lab` answers as `jupyter lab` does."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ..support.gateways import Gateway
from ..support.ports import free_port
from ..support.stock import OPEN, StockServer

TOKEN = "a-token-of-the-tests"
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
THEMES = "@jupyterlab/apputils-extension:themes"
OTHERS = "@other/x:plugin"
SETTINGS = "/lab/api/settings"
WORKSPACES = "/lab/api/workspaces"


class Pair:
    """Both servers, with the same folders of JupyterLab and the same user."""

    def __init__(self, base: Path) -> None:
        self.config = base / "config"
        self.seed = base / "seed"
        self._make_user(self.seed)
        self._make_application(base / "app")
        self._make_extension(base / "data" / "labextensions" / "@other" / "x")
        self.reset()
        env = {"JUPYTER_CONFIG_DIR": str(self.config), "JUPYTERLAB_DIR": str(base / "app"), "SHELL": "/bin/sh"}
        self.stock = StockServer(
            base / "stock",
            *OPEN,
            program="jupyter-lab",
            env={**env, "JUPYTER_PATH": f"{base / 'data'}:{base / 'stock' / 'share'}"},
        )
        options = ("--port", str(free_port()), "--token", TOKEN, "--set", "kernels.prewarm=0")
        folder = ("--root-dir", str(base / "ours" / "root"))
        path = {"JUPYTER_PATH": f"{base / 'data'}:{base / 'ours' / 'share'}"}
        (base / "ours" / "root").mkdir(parents=True)
        self._make_contents(base / "ours" / "root")
        shutil.copytree(base / "ours" / "root", base / "stock" / "root", dirs_exist_ok=True)
        self.ours = Gateway(base / "ours", "lab", *options, *folder, env={**env, **path})

    def wait_ready(self) -> None:
        self.ours.wait_ready()
        self.stock.wait_ready()

    def stop(self) -> None:
        self.ours.stop()
        self.stock.stop()

    def reset(self) -> None:
        """The user's folder as it was."""
        shutil.rmtree(self.config, ignore_errors=True)
        shutil.copytree(self.seed, self.config)

    def _make_user(self, folder: Path) -> None:
        settings = folder / "lab" / "user-settings"
        themes = settings / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
        themes.parent.mkdir(parents=True)
        themes.write_text('{\n  // a comment\n  "theme": "JupyterLab Dark",\n}')
        invalid = settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
        invalid.parent.mkdir(parents=True)
        invalid.write_text('{"codeCellConfig": 5}')
        others = settings / "@other" / "x" / "plugin.jupyterlab-settings"
        others.parent.mkdir(parents=True)
        others.write_text('{"speed": 7}')
        workspaces = folder / "lab" / "workspaces"
        workspaces.mkdir()
        (folder / "labconfig").mkdir()
        page = {
            "disabledExtensions": {"@jupyterlab/help-extension:about": True, "@jupyterlab/lsp-extension": False},
            "lockedExtensions": {"@jupyterlab/console-extension": True},
            "aValueOfTheUser": "</script><script>alert(1)",
        }
        (folder / "labconfig" / "page_config.json").write_text(json.dumps(page))
        overrides = {OTHERS: {"colour": "of labconfig"}}
        (folder / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(overrides))

    def _make_application(self, folder: Path) -> None:
        """JupyterLab as it is installed, with settings of an administrator."""
        folder.mkdir()
        for name in ("static", "schemas", "themes"):
            (folder / name).symlink_to(Path(sys.prefix) / "share" / "jupyter" / "lab" / name)
        (folder / "settings" / "overrides.d").mkdir(parents=True)
        terminal = {"@jupyterlab/terminal-extension:plugin": {"fontSize": 17}}
        (folder / "settings" / "overrides.json").write_text(json.dumps(terminal))
        (folder / "settings" / "overrides.d" / "b.json5").write_text("{'@other/x:plugin': {speed: 2}} // JSON5")
        (folder / "settings" / "page_config.json").write_text('{"ofTheAdministrator": 1}')

    def _make_extension(self, folder: Path) -> None:
        """Of somebody else, in a user's folder."""
        schema = {
            "title": "Other",
            "type": "object",
            "properties": {
                "speed": {"type": "number", "default": 1},
                "colour": {"type": "string", "default": "red"},
            },
            "additionalProperties": False,
        }
        (folder / "schemas" / "@other" / "x").mkdir(parents=True)
        (folder / "schemas" / "@other" / "x" / "plugin.json").write_text(json.dumps(schema))
        (folder / "schemas" / "@other" / "x" / "package.json.orig").write_text('{"version": "3.2.1"}')
        (folder / "static").mkdir()
        (folder / "static" / "remote.js").write_text("var _JUPYTERLAB;")
        (folder / "themes" / "other").mkdir(parents=True)
        (folder / "themes" / "other" / "index.css").write_text("body { background: url('a.png') }")
        package = {
            "name": "@other/x",
            "version": "3.2.1",
            "jupyterlab": {
                "_build": {"load": "static/remote.js", "extension": "./extension"},
                "disabledExtensions": ["@jupyterlab/running-extension"],
            },
        }
        (folder / "package.json").write_text(json.dumps(package))

    def _make_contents(self, folder: Path) -> None:
        shown = new_output("display_data", {"image/png": base64.b64encode(PICTURE).decode()})
        attached = new_markdown_cell("![a](attachment:a.png)")
        attached.attachments = {"a.png": {"image/png": base64.b64encode(PICTURE).decode()}}
        cells = [new_markdown_cell("# Title"), attached, new_code_cell("show()", outputs=[shown])]
        (folder / "sub").mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=cells), folder / "sub" / "ä b.ipynb")
        (folder / "a.txt").write_text("text")
        (folder / "broken.ipynb").write_text("{")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    pair.wait_ready()
    yield pair
    pair.stop()


@pytest.fixture(autouse=True)
def same_user(pair: Pair) -> None:
    pair.reset()


def ask(server: Gateway | StockServer, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
    """Of a body that is no bytes, the JSON."""
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Authorization": f"token {TOKEN}"} if isinstance(server, Gateway) else {}
    return httpx.request(
        method, server.url + path, content=content, headers=headers, timeout=60, trust_env=False, **more
    )


def timeless(value: Any) -> Any:
    """Without when files were written."""
    if isinstance(value, dict):
        return {
            key: item is not None if key in ("created", "last_modified", "last_activity") else timeless(item)
            for key, item in value.items()
        }
    return [timeless(item) for item in value] if isinstance(value, list) else value


def answers(server: Gateway | StockServer, *requests: tuple[Any, ...]) -> list[Any]:
    """The status of each, and the JSON, if it is no error: their words differ, and are looked at in tests below."""
    found = []
    for request in requests:
        answer = ask(server, *request)
        model = answer.json() if answer.content and answer.status_code < 400 else None
        if answer.status_code >= 400 and isinstance(server, Gateway):
            assert answer.json()["message"], request
        found.append((request, answer.status_code, timeless(model)))
    return found


def workspace(name: str, **data: Any) -> dict[str, Any]:
    return {"data": data, "metadata": {"id": name}}


def raw(text: str) -> dict[str, str]:
    return {"raw": text}


LONG = "x" * 300
SAME: dict[str, list[tuple[Any, ...]]] = {
    "all settings": [("GET", SETTINGS), ("GET", f"{SETTINGS}/")],
    "ids of settings": [("GET", f"{SETTINGS}?ids_only=true")],
    "settings of the user": [("GET", f"{SETTINGS}/{THEMES}"), ("GET", f"{SETTINGS}/{OTHERS}")],
    "an encoded id": [("GET", f"{SETTINGS}/%40other%2Fx%3Aplugin")],
    "settings that break their schema": [("GET", f"{SETTINGS}/@jupyterlab/notebook-extension:tracker")],
    "settings of the administrator": [("GET", f"{SETTINGS}/@jupyterlab/terminal-extension:plugin")],
    "unknown settings": [
        ("GET", f"{SETTINGS}/@other/x:no"),
        ("GET", f"{SETTINGS}/no"),
        ("PUT", f"{SETTINGS}/@other/x:no", raw("{}")),
        ("PUT", f"{SETTINGS}/no", raw("{}")),
        ("GET", f"{SETTINGS}/@other/..%2f..:x"),
    ],
    "saved settings": [
        ("PUT", f"{SETTINGS}/{OTHERS}", raw("{/* why */ speed: 3}")),
        ("GET", f"{SETTINGS}/{OTHERS}"),
        ("PUT", f"{SETTINGS}/@jupyterlab/terminal-extension:plugin", raw('{"fontSize": 9}')),
        ("GET", f"{SETTINGS}/@jupyterlab/terminal-extension:plugin"),
    ],
    "settings that are none": [
        ("PUT", f"{SETTINGS}/{OTHERS}", b"{"),
        ("PUT", f"{SETTINGS}/{OTHERS}", b""),
        ("PUT", f"{SETTINGS}/{OTHERS}", {"row": "{}"}),
        ("PUT", f"{SETTINGS}/{OTHERS}", ["raw"]),
        ("PUT", f"{SETTINGS}/{OTHERS}", {"raw": 5}),
        ("PUT", f"{SETTINGS}/{OTHERS}", raw('{"speed": "fast"}')),
        ("PUT", f"{SETTINGS}/{OTHERS}", raw('{"unknown": 1}')),
        ("GET", f"{SETTINGS}/{OTHERS}"),
    ],
    "workspaces": [
        ("GET", WORKSPACES),
        ("GET", f"{WORKSPACES}/mine"),
        ("PUT", f"{WORKSPACES}/mine", workspace("mine", a=1)),
        ("PUT", f"{WORKSPACES}/default", workspace("/default", b=2)),
        ("GET", f"{WORKSPACES}/mine"),
        ("GET", f"{WORKSPACES}/"),
        ("DELETE", f"{WORKSPACES}/mine"),
        ("DELETE", f"{WORKSPACES}/mine"),
        ("GET", f"{WORKSPACES}/mine"),
    ],
    "names of workspaces": [
        request
        for encoded, name in (
            ("a/b", "a/b"),
            ("a%2Fb", "a/b"),
            ("a%2525b", "a%25b"),
            ("%C3%A4%E2%82%AC", "ä€"),
            (LONG, LONG),
            ("a%20b", "a b"),
        )
        for request in (
            ("PUT", f"{WORKSPACES}/{encoded}", workspace(name, a=name)),
            ("GET", f"{WORKSPACES}/{encoded}"),
            ("GET", WORKSPACES),
        )
    ],
    "workspaces that are none": [
        ("PUT", f"{WORKSPACES}/mine", b"{"),
        ("PUT", f"{WORKSPACES}/mine", workspace("yours")),
        ("PUT", WORKSPACES, workspace("mine")),
        ("GET", WORKSPACES),
    ],
    "translations": [
        ("GET", "/lab/api/translations"),
        ("GET", "/lab/api/translations/"),
        *(("GET", f"/lab/api/translations/{name}") for name in ("en", "de", "default", "no-such", "zh_CN")),
    ],
    "listings": [("GET", "/lab/api/listings/@jupyterlab/extensionmanager-extension/listings.json")],
    "locked plugins": [("GET", "/lab/api/plugins")],
    "formats of exports": [("GET", "/api/nbconvert")],
    "no exports": [
        ("GET", "/nbconvert/html/nothing.ipynb"),
        ("GET", "/nbconvert/html/broken.ipynb"),
        ("GET", "/nbconvert/html/..%2f..%2fetc/passwd"),
    ],
    "terminals": [
        ("GET", "/api/terminals"),
        ("POST", "/api/terminals"),
        ("POST", "/api/terminals", {"name": "mine", "cwd": "sub"}),
        ("GET", "/api/terminals/mine"),
        ("GET", "/api/terminals/none"),
        ("DELETE", "/api/terminals/mine"),
        ("DELETE", "/api/terminals/1"),
        ("DELETE", "/api/terminals/none"),
    ],
}


@pytest.mark.parametrize("case", SAME)
def test_answers_are_those_of_jupyter_lab(pair: Pair, case: str) -> None:
    ours = answers(pair.ours, *SAME[case])
    pair.reset()
    assert ours == answers(pair.stock, *SAME[case])


DIFFERENT = {
    ("PUT", f"{SETTINGS}/{OTHERS}", '{"raw": "{speed: "}'): (400, 500, "its parser of JSON5 fails, which is no bug"),
    ("PUT", f"{WORKSPACES}/mine", "{}"): (400, 500, "there is no metadata, which is the client's fault"),
    ("PUT", f"{WORKSPACES}/mine", "[]"): (400, 500, "same"),
    ("PUT", f"{WORKSPACES}/mine", "\xff"): (400, 500, "it is no UTF-8, same"),
    ("DELETE", WORKSPACES, ""): (400, 500, "a workspace needs a name"),
    ("GET", "/lab/api/listings/other.json", ""): (404, 400, "there is no such list"),
    ("GET", "/lab/api/unknown", ""): (404, 200, "programs are not shown a page"),
    ("GET", "/nbconvert/nothing/sub/%C3%A4%20b.ipynb", ""): (404, 500, "there is no such format"),
}
"""What differs on purpose: our status, that of JupyterLab, and why."""


@pytest.mark.parametrize("request_line", DIFFERENT)
def test_some_answers_are_better_than_those_of_jupyter_lab(pair: Pair, request_line: tuple[str, str, str]) -> None:
    ours, stock, _ = DIFFERENT[request_line]
    method, path, body = request_line
    assert ask(pair.ours, method, path, body.encode("latin-1")).status_code == ours
    assert ask(pair.stock, method, path, body.encode("latin-1")).status_code == stock


# --- settings and workspaces ---------------------------------------------------------------------------


def test_settings_are_read_by_jupyter_lab_as_they_were_saved(pair: Pair) -> None:
    text = '{\n  // dark, please\n  "theme": "JupyterLab Light"\n}'
    assert ask(pair.ours, "PUT", f"{SETTINGS}/{THEMES}", raw(text)).status_code == 204
    assert ask(pair.stock, "GET", f"{SETTINGS}/{THEMES}").json()["raw"] == text
    assert ask(pair.stock, "PUT", f"{WORKSPACES}/mine", workspace("mine", a=1)).status_code == 204
    assert ask(pair.ours, "GET", f"{WORKSPACES}/mine").json()["data"] == {"a": 1}


def test_a_file_that_is_no_json_takes_no_other_settings_away_and_is_kept(pair: Pair) -> None:
    broken = pair.config / "lab" / "user-settings" / "@other" / "x" / "plugin.jupyterlab-settings"
    broken.write_text('{"speed": ')
    everything = {one["id"]: one for one in ask(pair.ours, "GET", SETTINGS).json()["settings"]}
    assert everything[THEMES]["settings"] == {"theme": "JupyterLab Dark"}
    assert (everything[OTHERS]["settings"], everything[OTHERS]["raw"]) == ({}, "{}")
    assert ask(pair.ours, "GET", f"{SETTINGS}/{OTHERS}").json() == everything[OTHERS]
    assert ask(pair.stock, "GET", SETTINGS).status_code == 500
    assert ask(pair.ours, "PUT", f"{SETTINGS}/{OTHERS}", raw("{speed: 4}")).status_code == 204
    assert ask(pair.ours, "GET", f"{SETTINGS}/{OTHERS}").json()["settings"] == {"speed": 4}
    assert broken.with_name(f"{broken.name}.unusable").read_text() == '{"speed": '
    assert "Failed loading settings (@other/x:plugin)" in pair.ours.log


def test_links_to_settings_stay(pair: Pair, tmp_path: Path) -> None:
    kept = pair.config / "lab" / "user-settings" / "@other" / "x" / "plugin.jupyterlab-settings"
    kept.unlink()
    kept.symlink_to(tmp_path / "dotfile")
    (tmp_path / "dotfile").write_text("{}")
    (tmp_path / "dotfile").chmod(0o640)
    assert ask(pair.ours, "PUT", f"{SETTINGS}/{OTHERS}", raw("{speed: 4}")).status_code == 204
    assert kept.is_symlink()
    assert (tmp_path / "dotfile").read_text() == "{speed: 4}"
    assert (tmp_path / "dotfile").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_saved_is_said_and_nothing_is_lost(pair: Pair) -> None:
    """The folders are files here: root, as which tests may run, can write to read-only ones."""
    settings = pair.config / "lab" / "user-settings" / "@jupyterlab" / "terminal-extension"
    settings.write_text("a file")
    path = f"{SETTINGS}/@jupyterlab/terminal-extension:plugin"
    answer = ask(pair.ours, "PUT", path, raw("{}"))
    assert (answer.status_code, "cannot be saved" in answer.json()["message"]) == (500, True)
    assert str(pair.config) not in answer.text
    assert settings.read_text() == "a file"
    assert ask(pair.ours, "GET", path).json()["settings"] == {}
    workspaces = pair.config / "lab" / "workspaces"
    workspaces.rmdir()
    workspaces.write_text("a file")
    answer = ask(pair.ours, "PUT", f"{WORKSPACES}/mine", workspace("mine"))
    assert (answer.status_code, "cannot be saved" in answer.json()["message"]) == (500, True)
    assert str(pair.config) not in answer.text
    assert workspaces.read_text() == "a file"


@pytest.mark.parametrize("name", ["@other/..:x", "../x:plugin", "@other/x:..", "a/b/c:d", "x:y%00", "%5c..:x"])
def test_no_id_leads_elsewhere(pair: Pair, name: str) -> None:
    path = f"{SETTINGS}/{name.replace('..', '%2e%2e')}"
    before = sorted(pair.config.rglob("*"))
    assert ask(pair.ours, "GET", path).status_code == 404
    assert ask(pair.ours, "PUT", path, raw("{}")).status_code == 404
    assert sorted(pair.config.rglob("*")) == before


def test_many_tabs_save_at_once(pair: Pair) -> None:
    """Each file is one of those that were sent, whenever it is read."""

    def save(number: int) -> list[int]:
        text = json.dumps({"speed": number, "colour": "x" * 2_000})
        data = workspace("mine", number=number, text="x" * 50_000)
        saved = [
            ask(pair.ours, "PUT", f"{SETTINGS}/{OTHERS}", raw(text)).status_code,
            ask(pair.ours, "PUT", f"{WORKSPACES}/mine", data).status_code,
            ask(pair.ours, "GET", f"{WORKSPACES}/mine").status_code,
            ask(pair.ours, "GET", f"{SETTINGS}/{OTHERS}").status_code,
        ]
        assert ask(pair.ours, "GET", f"{SETTINGS}/{OTHERS}").json()["settings"]
        return saved

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(save, range(24))] == [[204, 204, 200, 200]] * 24
    assert {path.name for path in (pair.config / "lab" / "workspaces").iterdir()} == {"mine-3fd3.jupyterlab-workspace"}


# --- the page --------------------------------------------------------------------------------------------


def page_config(server: Gateway | StockServer, path: str) -> dict[str, Any]:
    answer = ask(server, "GET", path)
    assert answer.headers["content-type"].startswith("text/html")
    found = re.search(r'id="jupyter-config-data" type="application/json">(.*?)</script>', answer.text, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


PAGE_DIFFERS = {
    "buildAvailable": "nothing is built here",
    "buildCheck": "same",
    "extensionManager": "extensions are installed by pip",
    "nbclassic_enabled": "said by an extension of Jupyter Server",
    "news": "nothing is fetched from elsewhere",
    "rootUri": "said by jupyter-lsp, an extension of Jupyter Server",
    "labextensionsPath": "another folder in this test",
    "store_id": "counts pages there, which nothing reads",
    "untracked_message_types": "an option of ours",
    "virtualDocumentsUri": "as rootUri",
}
OURS_ONLY = {"collaborative", "serverSideExecution"}
"""What Jupyverse tells its page."""


@pytest.mark.parametrize(
    "path",
    [
        "/lab",
        "/lab?reset",
        "/lab/tree/a.txt",
        "/lab/tree/sub/%C3%A4%20b.ipynb",
        "/lab/tree/..%2f..%2fetc",
        "/lab/workspaces/mine",
        "/lab/workspaces/mine?clone=other",
        "/lab/workspaces/mine/tree/sub",
        "/doc",
        "/doc/tree/a.txt",
        "/doc/workspaces/mine/tree/a.txt",
        "/lab/unknown",
        "/lab/workspaces/a%20b",
        "/lab/tree",
    ],
)
def test_the_page_is_told_what_jupyter_lab_tells_it(pair: Pair, path: str) -> None:
    ours, stock = page_config(pair.ours, path), page_config(pair.stock, path)
    ours["disabledExtensions"].remove("@jupyter-notebook/lab-extension")  # it leads to pages that are not there
    assert {key for key in ours.keys() | stock.keys() if ours.get(key) != stock.get(key)} - PAGE_DIFFERS.keys() == (
        OURS_ONLY & ours.keys()
    )
    assert ours["aValueOfTheUser"] == "</script><script>alert(1)"
    assert "@jupyterlab/help-extension:about" in ours["disabledExtensions"]
    assert "@jupyterlab/running-extension" in ours["disabledExtensions"]
    assert "@other/x" in [one["name"] for one in ours["federated_extensions"]]


def test_the_page_is_told_how_files_are_shown_and_deleted(tmp_path: Path) -> None:
    """JupyterLab offers to show hidden files, and says whether deleted ones can be had back."""
    options = ("--set", "contents.allow_hidden=true", "--set", "contents.delete_to_trash=false", "--set")
    server = Gateway(tmp_path, "lab", "--port", str(free_port()), "--token", TOKEN, *options, "kernels.prewarm=0")
    try:
        server.wait_ready()
        config = page_config(server, "/lab")
        assert (config["allow_hidden_files"], config["delete_to_trash"]) == (True, False)
    finally:
        server.stop()


REDIRECTS = [
    "/",
    "/?a=b",
    "/lab/",
    "/doc/tree/a/",
    "/lab/tree/sub/",
    "/lab/workspaces/mine/?reset",
    "/lab/tree/%C3%A4/",
]


@pytest.mark.parametrize("path", REDIRECTS)
def test_redirects_lead_where_jupyter_lab_leads(pair: Pair, path: str) -> None:
    ours, stock = ask(pair.ours, "GET", path), ask(pair.stock, "GET", path)
    assert (ours.status_code, ours.headers["location"].removesuffix("?")) == (
        stock.status_code,
        stock.headers["location"].removesuffix("?"),
    )


def test_files_of_extensions_and_themes_are_those_of_jupyter_lab(pair: Pair) -> None:
    script = next((Path(sys.prefix) / "share/jupyter/lab/static").glob("main.*.js")).name
    for path in (
        "/lab/extensions/@other/x/static/remote.js",
        "/lab/api/themes/@jupyterlab/theme-dark-extension/index.css",
        f"/static/lab/{script}",
        "/static/favicons/favicon-busy-1.ico",
    ):
        ours, stock = ask(pair.ours, "GET", path), ask(pair.stock, "GET", path)
        assert (ours.status_code, ours.content) == (stock.status_code, stock.content) == (200, ours.content), path
    css = ask(pair.ours, "GET", "/lab/api/themes/other/index.css")  # JupyterLab writes a URL from the root into it
    assert (css.status_code, css.text) == (200, "body { background: url('a.png') }")
    for path in ("/lab/extensions/@other/x/none", "/lab/extensions/%2e%2e/%2e%2e/seed", "/lab/api/themes/a%00"):
        assert ask(pair.ours, "GET", path).status_code == 404


LICENSES = "/lab/api/licenses/"


@pytest.mark.parametrize(
    "query", ["", "?format=csv&download=1", "?format=markdown&full_text=false", "?bundles=@jupyterlab/.*&download=true"]
)
def test_licenses_are_those_of_jupyter_lab(pair: Pair, query: str) -> None:
    ours, stock = ask(pair.ours, "GET", LICENSES + query), ask(pair.stock, "GET", LICENSES + query)
    assert (ours.status_code, ours.text) == (stock.status_code, stock.text)
    assert ours.headers["content-type"].partition(";")[0] == stock.headers["content-type"].partition(";")[0]
    names = [answer.headers.get("content-disposition", "").lower() for answer in (ours, stock)]
    assert names[0] == names[1]


@pytest.mark.parametrize("query", ["?format=xml", "?full_text=", "?bundles=(", "?download=no"])
def test_a_report_of_licenses_that_makes_no_sense_is_refused(pair: Pair, query: str) -> None:
    answer = ask(pair.ours, "GET", LICENSES + query)
    assert (answer.status_code, bool(answer.json()["message"])) == (400, True)


# --- exports -----------------------------------------------------------------------------------------------

NOTEBOOK = "sub/%C3%A4%20b.ipynb"


@pytest.mark.parametrize("kind", ["html", "markdown", "script", "notebook", "rst", "asciidoc", "latex", "slides"])
def test_exports_are_those_of_jupyter_lab(pair: Pair, kind: str) -> None:
    path = f"/nbconvert/{kind}/{NOTEBOOK}?download=true"
    ours, stock = ask(pair.ours, "GET", path), ask(pair.stock, "GET", path)
    assert ours.status_code == stock.status_code
    if stock.status_code != 200:  # pandoc is not there
        assert "nbconvert failed" in ours.json()["message"]
        return
    assert ours.headers["content-type"] == stock.headers["content-type"]
    names = [answer.headers["content-disposition"].lower() for answer in (ours, stock)]
    assert names[0] == names[1]
    assert ours.headers["content-security-policy"].startswith("sandbox")
    if ours.headers["content-type"] == "application/zip":
        packed = [zipfile.ZipFile(io.BytesIO(answer.content)) for answer in (ours, stock)]
        assert packed[0].namelist() == packed[1].namelist()
        assert PICTURE in [packed[0].read(name) for name in packed[0].namelist()]
    else:
        assert without_ids(ours.text) == without_ids(stock.text)


def without_ids(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|mermaid\S*", "", text)


def test_an_export_may_be_shown_instead_of_saved(pair: Pair) -> None:
    answer = ask(pair.ours, "GET", f"/nbconvert/html/{NOTEBOOK}")
    assert "content-disposition" not in answer.headers
    assert answer.text.count(base64.b64encode(PICTURE).decode()) == 2  # the attachment and the output
    other = ask(pair.ours, "GET", "/nbconvert/html/a.txt")
    assert (other.status_code, other.headers["location"]) == (302, "/files/a.txt")


def test_an_export_of_what_a_client_sends(pair: Pair) -> None:
    model = {"name": "sent.ipynb", "content": new_notebook(cells=[new_markdown_cell("# Sent")])}
    ours, stock = (ask(server, "POST", "/nbconvert/script", model) for server in (pair.ours, pair.stock))
    assert (ours.status_code, ours.text) == (stock.status_code, stock.text)
    assert ours.headers["content-type"] == stock.headers["content-type"]
    assert ask(pair.ours, "POST", "/nbconvert/nothing", model).status_code == 404
    wrong: Any
    for wrong in ({}, {"content": 5}, {"content": {}}, b"{", {"content": {}, "name": 5}):
        assert ask(pair.ours, "POST", "/nbconvert/html", wrong).status_code == 400


def test_an_export_that_fails_says_why(pair: Pair) -> None:
    if shutil.which("xelatex"):
        pytest.skip("LaTeX is there")
    answer = ask(pair.ours, "GET", f"/nbconvert/pdf/{NOTEBOOK}?download=true")
    assert (answer.status_code, answer.json()["message"].startswith("nbconvert failed: ")) == (500, True)
    assert len(answer.json()["message"]) > len("nbconvert failed: ")


# --- below a prefix ----------------------------------------------------------------------------------------


def test_all_of_it_is_below_the_base_url(tmp_path: Path) -> None:
    options = ("--set", "frontend.base_url=/user/a b/".replace(" ", "%20"), "--set", "app.mount_path=/user/a b")
    server = Gateway(tmp_path, "lab", "--port", str(free_port()), "--token", TOKEN, *options)
    try:
        server.wait_ready()
        base = "/user/a%20b"
        for path in ("/", base, f"{base}/"):
            answer = ask(server, "GET", path)
            assert (answer.status_code, answer.headers["location"]) == (302, f"{base}/lab")
        values = page_config(server, f"{base}/lab/tree/sub")
        assert values["baseUrl"] == f"{base}/"
        assert values["treePath"] == "sub"
        assert values["fullSettingsUrl"] == f"{base}/lab/api/settings"
        assert values["fullStaticUrl"] == f"{base}/static/lab"
        assert ask(server, "GET", f"{base}/lab/").headers["location"] == f"{base}/lab"
        assert ask(server, "GET", f"{base}{SETTINGS}/{THEMES}").status_code == 200
        assert ask(server, "GET", f"{base}/api/terminals").json() == []
        assert ask(server, "GET", f"{base}{WORKSPACES}").json() == {"workspaces": {"ids": [], "values": []}}
        assert os.path.basename(ask(server, "GET", f"{base}/static/favicons/favicon.ico").headers["location"])
    finally:
        server.stop()
