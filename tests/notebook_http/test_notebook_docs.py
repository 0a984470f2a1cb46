"""The manual of notebook-http, read as a user does: its commands are run, and answer what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from fps_kernels.gateway.config.traits import NotebookHTTPPersonality
from fps_kernels.notebook_http.parsing.swagger_parser import parse as parse_swagger

from ..support.events import parse_events
from ..support.gateways import Gateway, gateways

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "notebook-http.md").read_text()
WEATHER = DOCS / "examples" / "weather.ipynb"
BASE = "http://127.0.0.1:8888"
"""Of the gateway on the page."""

Run = Callable[[list[str], Path], str]
"""run(arguments, folder): what curl prints; files are written to the folder."""


class Command(NamedTuple):
    arguments: tuple[str, ...]
    output: str


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[Command]:
    """All of the page, in their order, with what is beneath them."""
    found = []
    for block in blocks("console"):
        before, *parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert not before, f"an output without a command: {before}"
        for part in parts:
            line, output = part.split("\n", 1)
            program, *arguments = shlex.split(line)
            assert program == "curl", line
            found.append(Command(tuple(arguments), output))
    return found


INSTALL = "pip install '.[gateway]' ipykernel\n"


def gateway_options() -> list[str]:
    """Those of all ways to start the command that are on the page, each once."""
    options: dict[str, None] = {}
    for block in blocks("bash"):
        program, *arguments = shlex.split(block.removeprefix(INSTALL))
        assert program == "fps-kernels", block
        options |= dict.fromkeys(argument.replace("=docs/", f"={DOCS}/") for argument in arguments)
    return list(options)


# --- what curl does, with and without curl -------------------------------------------------------


def curl(arguments: list[str], folder: Path) -> str:
    command = ["curl", "-q", "--noproxy", "*", "--max-time", "60", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.decode()


def like_curl(arguments: list[str], folder: Path) -> str:
    """For machines without curl. Knows the options of the page, and no other."""
    method, url, data, headers, output, template = None, None, None, {"Accept": "*/*"}, None, ""
    words = iter(arguments)
    for word in words:
        match word:
            case "-s" | "-N":
                pass
            case "-X":
                method = next(words)
            case "-H":
                name, value = next(words).split(":", 1)
                headers[name] = value.strip()
            case "-d":
                data = next(words)
            case "-o":
                output = next(words)
            case "-w":
                template = next(words)
            case _ if word.startswith("-"):
                raise AssertionError(f"option {word} of curl is not known here")
            case _:
                assert url is None, f"more than one URL: {url} and {word}"
                url = word
    assert url is not None, arguments
    if data is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    method = method or ("GET" if data is None else "POST")
    response = httpx.request(method, url, content=data, headers=headers, timeout=60, trust_env=False)
    text = ""
    if output is None:
        text = response.content.decode()
    else:
        (folder / output).write_bytes(response.content)
    return text + written_out(template, response)


def written_out(template: str, response: httpx.Response) -> str:
    """The text of curl's option -w."""

    def value(found: re.Match[str]) -> str:
        if found[2] is not None:
            return response.headers.get(found[2], "")
        known = {"http_code": str(response.status_code), "content_type": response.headers.get("content-type", "")}
        return known[found[1]]

    return re.sub(r"%(?:{(\w+)}|header{([\w-]+)})", value, template).replace("\\n", "\n")


def curl_version() -> tuple[int, ...]:
    if shutil.which("curl") is None:
        return ()
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    found = re.match(r"curl (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


RUNS: dict[str, Run] = {"like curl": like_curl}
if curl_version() >= (7, 84):  # the first one that has %header{…}
    RUNS["curl"] = curl


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Started as the page says. The commands of the page leave it as it was."""
    with gateways(tmp_path_factory.mktemp("weather")) as begin:
        yield begin(*gateway_options())


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_the_commands_of_the_page_print_what_is_beneath_them(gateway: Gateway, run: Run, tmp_path: Path) -> None:
    page = commands()
    assert len(page) > 15
    printed = [
        Command(arguments, run([word.replace(BASE, gateway.url) for word in arguments], tmp_path))
        for arguments, _ in page
    ]
    assert list(map(told, printed)) == list(map(told, page))


def told(command: Command) -> Command:
    """With the text of its events as one: a kernel may cut what it prints anywhere."""
    if not any("text/event-stream" in word for word in command.arguments):
        return command
    return command._replace(output="".join(text for _, text in parse_events(command.output.encode())))


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_the_files_that_the_page_writes_are_what_they_are_called(gateway: Gateway, run: Run, tmp_path: Path) -> None:
    for arguments, _ in commands():
        if "-o" in arguments:
            run([word.replace(BASE, gateway.url) for word in arguments], tmp_path)
    assert (tmp_path / "oslo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert (tmp_path / "jupyterlab.png").read_bytes() == (DOCS / "images" / "jupyterlab.png").read_bytes()
    assert nbformat.read(tmp_path / "weather.ipynb", as_version=4) == nbformat.read(WEATHER, as_version=4)


@pytest.mark.parametrize("word", ["-k", "--compressed", "-sS"])
def test_an_option_of_curl_that_is_not_translated_fails(word: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not known here"):
        like_curl([word, BASE], tmp_path)


def test_the_links_of_the_page_lead_somewhere(gateway: Gateway) -> None:
    for url in re.findall(rf"<({BASE}[^>]+)>", PAGE):
        page = url.replace(BASE, gateway.url)
        answer = httpx.get(page, headers={"Accept": "text/html,*/*;q=0.8"}, timeout=30, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/html"), url
    for path in re.findall(r"]\(([\w/.-]+)\)", PAGE):
        assert (DOCS / path).is_file(), path


def test_the_openapi_document_lists_the_endpoints(gateway: Gateway) -> None:
    document = httpx.get(f"{gateway.url}/openapi.json", timeout=30, trust_env=False).json()
    assert document["info"]["title"] == "weather"
    assert list(document["paths"]["/places/{place}"]) == ["get", "delete"]
    spec = httpx.get(f"{gateway.url}/_api/spec/swagger.json", timeout=30, trust_env=False).json()
    assert list(document["paths"]) == list(spec["paths"])


def test_the_cells_on_the_page_are_those_of_the_notebook() -> None:
    cells = ["".join(cell["source"]).strip() for cell in json.loads(WEATHER.read_text())["cells"]]
    shown = [block.strip() for block in blocks("python") if re.match(r"# (GET|POST|ResponseInfo [A-Z])", block)]
    assert len(shown) == 2
    for block in shown:
        assert block in cells


def test_the_swagger_example_of_the_page_is_one() -> None:
    [document] = blocks("json")
    codes = [block for block in blocks("python") if "operationId" in block]
    cells = [{"cell_type": "markdown", "source": f"```json\n{document}```"}]
    table = parse_swagger([*cells, *({"cell_type": "code", "source": code} for code in codes)], "python")
    [endpoint] = table.endpoints
    assert (endpoint.verb, endpoint.path, endpoint.response_info) == ("GET", "/places/:place", codes[1] + "\n")
    assert table.warnings == ()


def test_the_notebook_is_valid_and_has_no_outputs() -> None:
    notebook = nbformat.read(WEATHER, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_the_notebook_can_be_run_from_top_to_bottom() -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for cell in nbformat.read(WEATHER, as_version=4).cells:
            if cell.cell_type == "code":
                reply = client.execute_interactive(cell.source, timeout=60, output_hook=lambda message: None)
                assert reply["content"]["status"] == "ok", cell.source
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_table_has_every_option_of_the_personality() -> None:
    manual = (DOCS / "gateway.md").read_text()
    for name in NotebookHTTPPersonality.class_own_traits(config=True):
        assert f"\n| `NotebookHTTPPersonality.{name}` |" in manual
