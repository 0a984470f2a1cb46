"""No text of a request runs as code, whatever the language of the kernel is, and whatever the notebook says it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from ..support.apis import PID, Serve, complaint
from ..support.client import Client
from ..support.gateways import Gateway, environment
from ..support.kernelspecs import add_kernelspec
from ..support.programs import need, need_module
from ..support.raw_http import raw_request

KERNELS: dict[str, dict[str, str]] = {
    "tcl": {
        "module": "tcl_kernel",
        "answer": "/a/:p\nputs $REQUEST\nflush stdout",
        "info": '/a/:p\nputs "{\\"headers\\": {\\"X-Length\\": [string length $REQUEST]}}"\nflush stdout',
    },
    "bash": {
        "module": "bash_kernel",
        "answer": "/a/:p\nprintf '%s' \"$REQUEST\"",
        "info": "/a/:p\necho '{\"headers\": {\"X-Length\": '${#REQUEST}'}}'",
    },
    "python": {
        "module": "ipykernel_launcher",
        "answer": "/a/:p\nprint(REQUEST, end='')",
        "info": '/a/:p\nprint(\'{"headers": {"X-Length": %d}}\' % len(REQUEST))',
    },
}
"""Kernels that others wrote, by their languages: the module that starts each, and two cells after `# POST `."""
LANGUAGES = pytest.mark.parametrize("language", KERNELS)


def cells_of(language: str) -> list[str]:
    kernel = KERNELS[language]
    return [f"# {verb} {kernel['answer']}" for verb in ("GET", "POST", "DELETE")] + [
        f"# ResponseInfo POST {kernel['info']}"
    ]


@pytest.fixture
def serve_language(serve: Serve, tmp_path: Path) -> Any:
    """serve_language(language, **options): a gateway of a notebook for a kernel that others wrote."""

    def begin(language: str, /, **options: Any) -> Gateway:
        if language == "tcl":
            need_module("tkinter", "python3-tk")
        if language == "bash":
            need("bash")
        share = Path(environment(tmp_path / "gateway0")["JUPYTER_PATH"])
        argv = [sys.executable, "-m", KERNELS[language]["module"], "-f", "{connection_file}"]
        # Its own name for the language does not count either.
        add_kernelspec(share, "others", {"argv": argv, "display_name": language, "language": "python"})
        return serve(*cells_of(language), kernel="others", **options)

    return begin


def attacks(touched: Path) -> list[str]:
    command = f"touch {touched}"
    return [
        f"[exec {command}]",
        f'"; exec {command}; "',
        f"}}; exec {command}; {{",
        f"$({command})",
        f"`{command}`",
        f"'; {command}; '",
        f'"; {command}; "',
        f"'; __import__('os').system('{command}'); '",
        f'" + __import__("os").system("{command}") + "',
        f"\\x5bexec {command}\\x5d",
        f"\\\n{command}\n",
        "\x7f" * 60 + command + " #",
        f"!{command}",
        f"%%bash\n{command}",
    ]


@LANGUAGES
@pytest.mark.parametrize("claimed", ["the same", "another"])
async def test_no_text_of_a_request_runs(serve_language: Any, language: str, claimed: str, tmp_path: Path) -> None:
    """claimed: the language that the notebook's metadata names, which decides nothing."""
    other = "bash" if language == "python" else "python"
    gateway = serve_language(language, language=language if claimed == "the same" else other)
    touched = tmp_path / "touched"
    async with Client(gateway.url) as client:
        for text in attacks(touched):
            header = text.replace("\n", " ").replace("\x7f", "").strip()
            nested = {text: [text, {text: None}]}
            long = text * (1 + 20_000 // len(text))  # comes in a file
            bodies: list[tuple[str, str, Any]] = [
                ("application/json", json.dumps(nested), nested),
                ("application/json", f"{text},", f"{text},"),
                ("text/plain", long, long),
                ("application/x-www-form-urlencoded", urlencode({text: text}), {text: [text]}),
            ]
            for content_type, body, value in bodies:
                response = await client.http.post(
                    f"/a/{quote(text, safe='')}",
                    params={text: text},
                    content=body,
                    headers={"Content-Type": content_type, "X-Attack": header, "User-Agent": header},
                )
                assert response.status_code == 200, response.text
                told = json.loads(response.text)
                assert told["args"] == {text: [text]}
                assert told["headers"]["X-Attack"] == header
                assert told["path"] == {"p": text}
                assert told["body"] == value
                assert int(response.headers["x-length"]) >= len(response.text.strip())
    name = {"X-!#$%&'*+.^_`|~": f"$(touch${{IFS}}{touched})`touch {touched}`[exec touch {touched}]"}
    for verb, target in (("GET", "/a/x?[exec]"), ("DELETE", "/a/[exec%20touch]?$(x)")):
        answer = await raw_request(gateway.url, verb, target, headers=name)
        assert answer.status_code == 200
        assert set(name.values()) <= set(answer.json()["headers"].values())
    assert not touched.exists()
    mismatch = f"notebook0.ipynb: its metadata names the language '{other}', but its kernel runs"
    assert (mismatch in gateway.log) is (claimed == "another")


@pytest.mark.parametrize("claimed", ["python", "klingon"])
def test_a_kernel_of_an_unknown_language_is_refused_at_the_start(serve: Serve, claimed: str) -> None:
    gateway = serve(PID, kernel="tiny_klingon", language=claimed, ready=False)
    line = complaint(gateway)
    assert line.startswith("fps-kernels: seed_uri=")
    for part in ("notebook0.ipynb", "'Klingon'", "python, r, ", "NotebookHTTPPersonality.request_literal"):
        assert part in line
    assert gateway.kernel_processes() == []
    assert gateway.connection_files() == []


async def test_a_kernel_of_an_unknown_language_is_told_in_the_language_that_an_option_names(serve: Serve) -> None:
    gateway = serve(PID, "# POST /echo\nstream(REQUEST)", kernel="tiny_klingon", request_literal="Python")
    async with Client(gateway.url) as client:
        for body in ("\"'[x]$", "x" * 100_000):
            assert (await client.http.post("/echo", content=body)).json()["body"] == body
    assert "names the language 'python', but its kernel runs 'Klingon'" in gateway.log


async def test_an_option_does_not_change_the_language_of_a_known_one(serve_language: Any, tmp_path: Path) -> None:
    gateway = serve_language("tcl", request_literal="python")
    async with Client(gateway.url) as client:
        agent = f"[exec touch {tmp_path / 'touched'}]"
        response = await client.http.get("/a/x", headers={"User-Agent": agent})
        assert response.json()["headers"]["User-Agent"] == agent
    assert not (tmp_path / "touched").exists()


def test_an_option_that_names_no_language_is_one_line(serve: Serve) -> None:
    gateway = serve(PID, request_literal="klingon", ready=False)
    line = complaint(gateway)
    assert line.startswith("fps-kernels: request_literal=klingon: not one of python, r, ")


async def test_a_kernel_of_the_old_protocol_says_its_language_in_another_place(serve: Serve) -> None:
    gateway = serve("# GET /\njson.loads(REQUEST)['headers']['Host']", kernel="tiny_old_protocol")
    async with Client(gateway.url) as client:
        assert (await client.http.get("/")).status_code == 200
