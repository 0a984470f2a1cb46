"""`/api/kernelspecs` and the files of kernelspecs."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime

import pytest

from ..support.client import Client, tidy_client
from ..support.kernelspecs import add_kernelspec
from ..support.raw_http import raw_request
from ..support.servers import Launch, Server, options

PLAIN = {"argv": ["true"], "display_name": "Plain", "language": "none"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with kernelspecs of all kinds; beside them lies a file that is nobody's business."""
    server = Server(tmp_path_factory.mktemp("shelf"))
    kernels = server.share / "kernels"
    (kernels / "secret.txt").write_text("nobody's business")
    folder = add_kernelspec(server.share, "files", PLAIN | {"metadata": {"a": [1]}, "env": {"A": "b"}})
    for name in ("kernel.js", "kernel.css", "logo-64x64.png", "logo-svg.svg", "logo-ä b.png", "other.txt"):
        (folder / name).write_text(f"this is {name}")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.txt").write_text("deep")
    (folder / "logo-folder").mkdir()
    (folder / "empty.txt").touch()
    (folder / "outside.txt").symlink_to(kernels / "secret.txt")
    (folder / "outside").symlink_to(kernels)
    (folder / "inside.txt").symlink_to("other.txt")
    (folder / "circle.txt").symlink_to("circle.txt")
    os.mkfifo(folder / "pipe")
    add_kernelspec(server.share, "MixedCase", PLAIN)
    (kernels / "linked").symlink_to(folder)
    for name, text in {
        "not_json": "{",
        "not_an_object": "[]",
        "not_text": '{"argv": 1, "display_name": 2}',
        "binary": "\0\1\2",
        "empty": "",
        "unknown_key": json.dumps(PLAIN | {"unknown": 1}),
    }.items():
        (kernels / name).mkdir()
        (kernels / name / "kernel.json").write_text(text)
    (kernels / "no_kernel_json").mkdir()
    (kernels / "bad name").mkdir()
    (kernels / "bad name" / "kernel.json").write_text(json.dumps(PLAIN))
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
async def reader(shelf: Server) -> AsyncIterator[Client]:
    async with tidy_client(shelf) as client:
        yield client


# --- the list -------------------------------------------------------------------------------------


async def test_kernelspecs_are_listed(reader: Client) -> None:
    response = await reader.http.get("/api/kernelspecs")
    assert response.status_code == 200
    model = response.json()
    assert sorted(model) == ["default", "kernelspecs"]
    assert {"python3", "tiny_plain", "files", "mixedcase"} <= model["kernelspecs"].keys()
    assert all(spec["name"] == name for name, spec in model["kernelspecs"].items())


async def test_a_kernelspec_has_its_spec_and_resources(reader: Client) -> None:
    model = (await reader.http.get("/api/kernelspecs")).json()["kernelspecs"]["files"]
    assert sorted(model) == ["name", "resources", "spec"]
    assert model["spec"] == PLAIN | {
        "metadata": {"a": [1]},
        "env": {"A": "b"},
        "interrupt_mode": "signal",
        "kernel_protocol_version": model["spec"].get("kernel_protocol_version", ""),
    }
    assert model["resources"] == {
        "kernel.js": "/kernelspecs/files/kernel.js",
        "kernel.css": "/kernelspecs/files/kernel.css",
        "logo-64x64": "/kernelspecs/files/logo-64x64.png",
        "logo-svg": "/kernelspecs/files/logo-svg.svg",
        "logo-ä b": "/kernelspecs/files/logo-%C3%A4%20b.png",
    }


async def test_every_resource_that_is_listed_is_there(reader: Client) -> None:
    models = (await reader.http.get("/api/kernelspecs")).json()["kernelspecs"]
    urls = [url for model in models.values() for url in model["resources"].values()]
    assert urls
    assert {(await reader.http.get(url)).status_code for url in urls} == {200}


async def test_the_list_takes_a_user(reader: Client) -> None:
    assert (await reader.http.get("/api/kernelspecs?user=me")).status_code == 200


@pytest.mark.parametrize("name", ["not_json", "not_an_object", "not_text", "binary", "empty", "no_kernel_json"])
async def test_a_broken_kernelspec_is_skipped(reader: Client, name: str) -> None:
    assert name not in (await reader.http.get("/api/kernelspecs")).json()["kernelspecs"]


async def test_a_broken_kernelspec_is_logged(shelf: Server, reader: Client) -> None:
    await reader.http.get("/api/kernelspecs")
    assert "not_json" in shelf.log.read_text()


@pytest.mark.parametrize("name", ["not_json", "not_an_object", "not_text", "binary", "empty", "no_kernel_json"])
async def test_a_broken_kernelspec_is_not_found(reader: Client, name: str) -> None:
    response = await reader.http.get(f"/api/kernelspecs/{name}")
    assert response.status_code == 404
    assert response.json()["message"] == f"No such kernel: {name}"


@pytest.mark.parametrize("name", ["not_json", "not_an_object", "not_text"])
async def test_a_broken_kernelspec_cannot_be_started(reader: Client, name: str) -> None:
    response = await reader.http.post("/api/kernels", json={"name": name})
    assert response.status_code == 404
    assert response.json()["message"] == f"No such kernel: {name}"


async def test_a_new_kernelspec_is_seen_without_a_restart(shelf: Server, reader: Client) -> None:
    add_kernelspec(shelf.share, "new", PLAIN)
    assert "new" in (await reader.http.get("/api/kernelspecs")).json()["kernelspecs"]


async def test_the_default_kernel_is_the_native_python_one(reader: Client) -> None:
    assert (await reader.http.get("/api/kernelspecs")).json()["default"] == "python3"


@pytest.mark.parametrize(
    ("configured", "default"), [("tiny_plain", "tiny_plain"), ("Tiny_Plain", "tiny_plain"), ("nothing", "python3")]
)
async def test_the_default_kernel_is_the_configured_one_if_it_exists(
    launch: Launch, configured: str, default: str
) -> None:
    server = launch(*options(default_kernel=configured))
    async with Client(server.url) as client:
        assert (await client.http.get("/api/kernelspecs")).json()["default"] == default


# --- one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["files", "FILES", "mixedcase", "MixedCase", "bad name"])
async def test_a_kernelspec_is_found_in_any_case(reader: Client, name: str) -> None:
    response = await reader.http.get(f"/api/kernelspecs/{name}")
    assert response.status_code == 200
    assert response.json()["name"] == name.lower()


async def test_a_kernelspec_alone_is_as_in_the_list(reader: Client) -> None:
    models = (await reader.http.get("/api/kernelspecs")).json()["kernelspecs"]
    for name in ("files", "python3"):
        assert (await reader.http.get(f"/api/kernelspecs/{name}")).json() == models[name]


@pytest.mark.parametrize("name", ["nothing", "worse%20name", "%C3%A9", "..", "%2e%2e", "%2e", "a%00b", "x" * 5000])
async def test_an_unknown_kernelspec_is_not_found(shelf: Server, name: str) -> None:
    response = await raw_request(shelf.url, "GET", f"/api/kernelspecs/{name}")
    assert response.status_code == 404
    assert sorted(response.json()) == ["message", "reason"]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("logo-64x64.png", "this is logo-64x64.png"),
        ("other.txt", "this is other.txt"),
        ("sub/deep.txt", "deep"),
        ("inside.txt", "this is other.txt"),
        ("empty.txt", ""),
        ("logo-%C3%A4%20b.png", "this is logo-ä b.png"),
    ],
)
async def test_a_file_of_a_kernelspec(reader: Client, file: str, text: str) -> None:
    response = await reader.http.get(f"/kernelspecs/files/{file}")
    assert response.status_code == 200
    assert response.text == text


async def test_a_file_has_its_media_type(reader: Client) -> None:
    png = await reader.http.get("/kernelspecs/files/logo-64x64.png")
    css = await reader.http.get("/kernelspecs/files/kernel.css")
    assert png.headers["content-type"] == "image/png"
    assert css.headers["content-type"].startswith("text/css")


async def test_files_of_a_kernelspec_that_is_a_link(reader: Client) -> None:
    assert (await reader.http.get("/kernelspecs/linked/other.txt")).text == "this is other.txt"


async def test_the_head_of_a_file(reader: Client) -> None:
    whole = await reader.http.get("/kernelspecs/files/other.txt")
    head = await reader.http.head("/kernelspecs/files/other.txt")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "last-modified", "content-length", "content-type"):
        assert head.headers[name] == whole.headers[name]


async def test_a_file_says_when_it_was_changed(shelf: Server, reader: Client) -> None:
    response = await reader.http.get("/kernelspecs/files/other.txt")
    changed = (shelf.share / "kernels" / "files" / "other.txt").stat().st_mtime
    assert parsedate_to_datetime(response.headers["last-modified"]).timestamp() == int(changed)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_is_known_is_not_sent_again(reader: Client, method: str) -> None:
    etag = (await reader.http.get("/kernelspecs/files/other.txt")).headers["etag"]
    response = await reader.http.request(method, "/kernelspecs/files/other.txt", headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag


async def test_a_changed_file_is_sent_again(shelf: Server, reader: Client) -> None:
    file = shelf.share / "kernels" / "files" / "changing.txt"
    file.write_text("old")
    etag = (await reader.http.get("/kernelspecs/files/changing.txt")).headers["etag"]
    file.write_text("newer")
    response = await reader.http.get("/kernelspecs/files/changing.txt", headers={"If-None-Match": etag})
    assert (response.status_code, response.text) == (200, "newer")


@pytest.mark.parametrize(
    "target",
    [
        "/kernelspecs/files/nothing",
        "/kernelspecs/nothing/other.txt",
        "/kernelspecs/files/",
        "/kernelspecs/files/sub",
        "/kernelspecs/files/pipe",
        "/kernelspecs/files/circle.txt",
        "/kernelspecs/files/a%00b",
        "/kernelspecs/a%00b/other.txt",
        "/kernelspecs/files/" + "x" * 5000,
        "/kernelspecs/not_json/kernel.json",
        "/kernelspecs/files/other.txt/more",
        "/kernelspecs/files/%ff%fe",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_is_not_there_is_not_found(shelf: Server, method: str, target: str) -> None:
    response = await raw_request(shelf.url, method, target)
    assert response.status_code == 404
    if method == "GET":
        assert sorted(response.json()) == ["message", "reason"]


@pytest.mark.parametrize(
    "target",
    [
        "/kernelspecs/files/outside.txt",
        "/kernelspecs/files/outside/secret.txt",
        "/kernelspecs/files/../secret.txt",
        "/kernelspecs/files/%2e%2e/secret.txt",
        "/kernelspecs/files/..%2fsecret.txt",
        "/kernelspecs/files/%2E%2E%2Fsecret.txt",
        "/kernelspecs/files/%252e%252e/secret.txt",
        "/kernelspecs/files/sub/../../secret.txt",
        "/kernelspecs/files/sub/%2e%2e/%2e%2e/secret.txt",
        "/kernelspecs/files/..%5csecret.txt",
        "/kernelspecs/files/.%00./secret.txt",
        "/kernelspecs/files//etc/passwd",
        "/kernelspecs/files/%2fetc/passwd",
        "/kernelspecs/%2e%2e/x",
        "/kernelspecs/%2e%2e/kernels/secret.txt",
        "/kernelspecs/%2e/secret.txt",
        "/kernelspecs/../kernelspecs/files/../secret.txt",
        "/kernelspecs/files%2f..%2f/secret.txt",
        "/kernelspecs//secret.txt",
    ],
)
async def test_nothing_outside_the_folder_is_served(shelf: Server, target: str) -> None:
    response = await raw_request(shelf.url, "GET", target)
    assert response.status_code == 404
    assert sorted(response.json()) == ["message", "reason"]
    assert b"nobody's" not in response.body
    assert str(shelf.share).encode() not in response.body
