"""Kernelspecs as they are found: one that is odd hides none, and what is listed can be started."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.client import Client, tidy_client
from ..support.kernelspecs import KERNEL
from ..support.servers import Server

ARGV = [sys.executable, str(KERNEL), "plain", "{connection_file}"]
SPEC = {"argv": ARGV, "display_name": "Odd", "language": "python"}

# Folders by their names, as bytes, and what is in their kernel.json.
STARTABLE: dict[bytes, Any] = {
    b"with spaces": SPEC,
    b" leading": SPEC,
    b"UPPER": SPEC,
    "größe".encode(): SPEC,
    b"percent%2Fslash": SPEC,
    b"question?#&+": SPEC,
    b"...": SPEC,
    b"nan": SPEC | {"metadata": {"gpu": float("nan"), "n": [float("inf"), {"deep": float("-inf")}]}},
    b"too_large": json.dumps(SPEC | {"metadata": {"n": "N"}}).replace('"N"', "1e999"),
    b"nulls": SPEC | dict.fromkeys(("metadata", "env", "interrupt_mode", "language", "display_name")),
    b"numbers": SPEC | {"argv": [*ARGV[:3], "{connection_file}"], "env": {"N": 8, "F": 0.5}},
    b"byte_order_mark": "\ufeff" + json.dumps(SPEC),
    b"utf_16": json.dumps(SPEC).encode("utf-16"),
    b"crlf": json.dumps(SPEC, indent=1).replace("\n", "\r\n"),
    b"own_name": SPEC | {"name": "another", "resource_dir": "/nowhere"},
    b"unknown_keys": SPEC | {"x": 1, "log": 2, "_trait_values": {}},
    b"nested": SPEC | {"metadata": {"deep": json.loads("[" * 200 + "]" * 200)}},
    b"half_pair": json.dumps(SPEC | {"metadata": {"s": "\ud800"}, "display_name": "\udfff"}),
    b"provisioner_text": SPEC | {"metadata": {"kernel_provisioner": "text"}},
    b"duplicate_keys": '{"argv": [], ' + json.dumps(SPEC)[1:],
}
UNFIT: dict[bytes, Any] = {
    b"list": [SPEC],
    b"text": '"text"',
    b"null": "null",
    b"broken": "{",
    b"empty": "",
    b"latin_1": json.dumps(SPEC | {"language": "é"}, ensure_ascii=False).encode("latin-1"),
    b"nested_beyond": "[" * 100_000,
    b"huge": json.dumps(SPEC | {"metadata": {"x": "x" * 2_000_000}}),
    b"no_argv": {"display_name": "x", "language": "x"},
    b"empty_argv": SPEC | {"argv": []},
    b"argv_null": SPEC | {"argv": None},
    b"argv_text": SPEC | {"argv": "python"},
    b"argv_list": SPEC | {"argv": [["python"]]},
    b"argv_nul": SPEC | {"argv": ["python\0"]},
    b"env_list": SPEC | {"env": ["A=b"]},
    b"env_object": SPEC | {"env": {"A": {}}},
    b"env_true": SPEC | {"env": {"A": True}},
    b"metadata_list": SPEC | {"metadata": []},
    b"interrupt_mode": SPEC | {"interrupt_mode": "shout"},
    b"no_such_provisioner": SPEC | {"metadata": {"kernel_provisioner": {"provisioner_name": "nobody's"}}},
}
UNNAMEABLE = (b"not-utf-8-\xff", b"line\nend", b"escape\x1b[2J")


def write(kernels: Path, name: bytes, spec: Any) -> Path:
    folder = Path(os.fsdecode(os.path.join(os.fsencode(kernels), name)))
    folder.mkdir()
    data = spec if isinstance(spec, (str, bytes)) else json.dumps(spec)
    (folder / "kernel.json").write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with kernelspecs of all kinds."""
    server = Server(tmp_path_factory.mktemp("odd"))
    kernels = server.share / "kernels"
    for name, spec in {**STARTABLE, **UNFIT, **dict.fromkeys(UNNAMEABLE, SPEC)}.items():
        write(kernels, name, spec)
    write(kernels, b"Twice", SPEC | {"display_name": "first"})
    write(kernels, b"twice", SPEC | {"display_name": "second"})
    logos = write(kernels, b"logos", SPEC)
    for file in (b"logo-64x64.png", b"logo-\xff.png", b"logo-\n.png", "logo-ü.png".encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(logos), file))).write_text("a picture")
    (logos / "logo-gone.png").symlink_to("nothing")
    (logos / "logo-circle.png").symlink_to("logo-circle.png")
    os.mkfifo(logos / "logo-pipe.png")
    (kernels / "gone").symlink_to("nothing")
    (kernels / "circle").symlink_to("circle")
    (kernels / "file").write_text("no folder")
    (kernels / "no_file").mkdir()
    (kernels / "no_file" / "kernel.json").symlink_to("nothing")
    (kernels / "pipe").mkdir()
    os.mkfifo(kernels / "pipe" / "kernel.json")
    (kernels / "linked").mkdir()
    (kernels / "linked" / "kernel.json").symlink_to(logos / "kernel.json")
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def client(shelf: Server) -> AsyncIterator[Client]:
    async with tidy_client(shelf) as client:
        yield client


def read(text: str) -> Any:
    """JSON as browsers read it."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


async def listed(client: Client) -> dict[str, Any]:
    response = await client.http.get("/api/kernelspecs")
    assert response.status_code == 200
    models: dict[str, Any] = read(response.text)["kernelspecs"]
    return models


async def test_what_can_be_started_is_listed_and_nothing_else(client: Client) -> None:
    models = await listed(client)
    names = {name.decode().lower() for name in STARTABLE} | {"twice", "logos", "linked", "python3"}
    assert {name for name in models if not name.startswith("tiny_")} == names | {"no_such_program"}


@pytest.mark.parametrize("name", [name.decode() for name in STARTABLE] + ["twice", "linked"])
async def test_what_is_listed_can_be_started(client: Client, name: str) -> None:
    kernel_id = await client.start(name)
    assert (await client.kernel(kernel_id))["name"] == name.lower()
    assert await client.evaluate(kernel_id, "6 * 7") == "42"


async def test_each_model_has_a_url_of_its_own(client: Client) -> None:
    for name, model in (await listed(client)).items():
        url = client.http.build_request("GET", "/api/kernelspecs/x").url.copy_with(
            raw_path=b"/api/kernelspecs/" + b"".join(b"%%%02X" % byte for byte in name.encode())
        )
        response = await client.http.get(url)
        assert (response.status_code, read(response.text)) == (200, model)


async def test_what_is_read_is_what_was_meant(client: Client) -> None:
    models = await listed(client)
    assert models["nan"]["spec"]["metadata"] == {"gpu": None, "n": [None, {"deep": None}]}
    assert models["too_large"]["spec"]["metadata"] == {"n": None}
    assert models["nulls"]["spec"]["metadata"] == models["nulls"]["spec"]["env"] == {}
    assert models["numbers"]["spec"]["env"] == {"N": "8", "F": "0.5"}
    kernel_id = await client.start("numbers")
    environ = "(__import__('os').environ['N'], __import__('os').environ['F'])"
    assert await client.evaluate(kernel_id, environ) == "('8', '0.5')"


async def test_of_two_names_that_differ_in_case_the_same_is_listed_and_shown(client: Client) -> None:
    response = await client.http.get("/api/kernelspecs/TWICE")
    assert response.json() == (await listed(client))["twice"]
    assert response.json()["spec"]["display_name"] == "first"


@pytest.mark.parametrize("name", [name.decode() for name in UNFIT])
async def test_what_is_not_listed_is_not_found(client: Client, name: str) -> None:
    assert (await client.http.get(f"/api/kernelspecs/{name}")).status_code == 404
    response = await client.http.post("/api/kernels", json={"name": name})
    assert (response.status_code, response.json()["message"]) == (404, f"No such kernel: {name}")


async def test_resources_that_can_be_had_are_listed(client: Client) -> None:
    resources = (await listed(client))["logos"]["resources"]
    assert sorted(resources) == ["logo-64x64", "logo-ü"]
    for url in resources.values():
        assert (await client.http.get(url)).text == "a picture"


async def test_the_log_says_once_why_something_is_missing(shelf: Server, client: Client) -> None:
    for _ in range(2):
        await listed(client)
    log = shelf.log.read_text()
    for said in (
        "the kernelspec list cannot be read: kernel.json is not a JSON object",
        "the kernelspec argv_list cannot be read: an argument in kernel.json is neither a string nor a number",
        "the kernelspec env_true cannot be read: the variable A in kernel.json is neither a string nor a number",
        "the kernelspec huge cannot be read: kernel.json is larger than 1048576 bytes",
        "the kernelspec no_argv is not listed, because it cannot be started: its argv is missing or empty",
        "the kernelspec 'line\\nend' cannot be used: rename its folder",
    ):
        assert log.count(said) == 1, said
    assert "Traceback" not in log
