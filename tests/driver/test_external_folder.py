"""Connection files of others: those are believed that nobody else can have written. Each refusal is told once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.kernels.external_folder import ExternalKernels, ExternalPolicy
from fps_kernels.kernels.registry import KernelRegistry

from ..support.externals import CHANNELS, ExternalKernel
from ..support.ports import free_ports
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "external"
    folder.mkdir(mode=0o700)
    return folder


def info(**changes: Any) -> str:
    ports = {f"{channel}_port": port for channel, port in zip(CHANNELS, free_ports(5), strict=True)}
    return json.dumps({**ports, "ip": "127.0.0.1", "transport": "tcp", "key": "k", **changes})


def write(path: Path, mode: int = 0o600, **changes: Any) -> Path:
    path.write_text(info(**changes))
    path.chmod(mode)
    return path


async def names(
    registry: KernelRegistry, folder: Path, policy: ExternalPolicy | None = None, scans: int = 2
) -> list[str]:
    """The names of the kernels that are taken in by a few scans."""
    external = ExternalKernels(registry, folder, policy)
    for _ in range(scans):
        await external._scan()
    return sorted(kernel.driver.name for kernel in registry.list())


@pytest.fixture
async def warnings(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[str]]:
    """What is said, at the end of the test."""
    caplog.set_level(logging.WARNING, "fps_kernels.kernels.external_folder")
    said: list[str] = []
    yield said
    assert [record.getMessage() for record in caplog.get_records("call") if "external_folder" in record.name] == said


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
async def test_a_file_of_our_own(registry: KernelRegistry, folder: Path, warnings: list[str], mode: int) -> None:
    write(folder / "own.json", mode)
    assert await names(registry, folder) == ["own"]


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o602, 0o620])
async def test_a_file_that_others_can_write_to(
    registry: KernelRegistry, folder: Path, warnings: list[str], mode: int
) -> None:
    write(folder / "open.json", mode)
    assert await names(registry, folder, scans=3) == []
    warnings.append(f"ignoring open.json: it can be written to by others (mode {mode:04o})")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
async def test_a_folder_that_others_can_write_to(
    registry: KernelRegistry, folder: Path, warnings: list[str], mode: int
) -> None:
    write(folder / "own.json")
    os.chmod(folder, mode)
    assert await names(registry, folder, scans=3) == []
    warnings.append(f"ignoring {folder}: it can be written to by others (mode {mode:04o})")


async def test_a_folder_that_is_opened_later(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    write(folder / "own.json")
    external = ExternalKernels(registry, folder)
    await external._scan()
    os.chmod(folder, 0o777)
    await external._scan()
    assert registry.list() == []
    os.chmod(folder, 0o700)
    await external._scan()
    assert len(registry.list()) == 1
    warnings.append(f"ignoring {folder}: it can be written to by others (mode 0777)")


async def test_files_of_another_user(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    with contextlib.suppress(PermissionError):  # only root can give files away
        os.chown(write(folder / "theirs.json"), 65534, -1)
        assert await names(registry, folder) == []
        warnings.append("ignoring theirs.json: it belongs to another user (65534)")


async def test_links_and_pipes(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    (folder / "a.json").symlink_to(write(folder.parent / "elsewhere.json"))
    (folder / "b.json").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "c.json")
    (folder / "d.json").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "e.json"))
        assert await names(registry, folder) == []
    warnings += [f"ignoring {name}.json: it is a link" for name in "ab"]
    warnings += [f"ignoring {name}.json: it is not a regular file" for name in "cd"]
    warnings += ["ignoring e.json: it cannot be read: No such device or address"]


REMOTE = ["192.0.2.7", "10.0.0.1", "example.org", "127.0.0.1.example.org", "::", "2001:db8::1", "127.0.0.1:1;192.0.2.7"]


@pytest.mark.parametrize("ip", REMOTE)
async def test_another_machine(registry: KernelRegistry, folder: Path, warnings: list[str], ip: str) -> None:
    write(folder / "far.json", ip=ip)
    assert await names(registry, folder) == []
    why = f"is for a kernel at {ip}, which is not on this machine (external_allow_remote)"
    warnings.append(f"ignoring far.json: it {why}")


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "localhost", "0.0.0.0", "*"])
async def test_this_machine(registry: KernelRegistry, folder: Path, warnings: list[str], ip: str) -> None:
    write(folder / "near.json", ip=ip)
    assert await names(registry, folder) == ["near"]


async def test_another_machine_if_allowed(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    write(folder / "far.json", ip="192.0.2.7")
    assert await names(registry, folder, ExternalPolicy(allow_remote=True)) == ["far"]


@pytest.mark.parametrize("key", ["", None])
async def test_no_key(registry: KernelRegistry, folder: Path, warnings: list[str], key: str | None) -> None:
    write(folder / "open.json", key=key)
    assert await names(registry, folder) == []
    why = "has no key: anybody on this machine could be that kernel (external_allow_unsigned)"
    warnings.append(f"ignoring open.json: it {why}")


async def test_no_key_if_allowed(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    write(folder / "open.json", key="")
    assert await names(registry, folder, ExternalPolicy(allow_unsigned=True)) == ["open"]


async def test_more_than_allowed(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    policy = ExternalPolicy(max_kernels=2)
    external = ExternalKernels(registry, folder, policy)
    write(folder / "m.json")
    await external._scan()
    for name in "anz":
        write(folder / f"{name}.json")
    for _ in range(3):
        await external._scan()
    assert sorted(kernel.driver.name for kernel in registry.list()) == ["a", "m"]  # the one that was there stays
    (folder / "m.json").unlink()
    await external._scan()
    assert sorted(kernel.driver.name for kernel in registry.list()) == ["a", "n"]
    warnings += [f"ignoring {name}.json: it is one more than 2 (external_max_kernels)" for name in "nz"]


async def test_an_id_that_a_client_has_chosen(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    """The ids of external kernels can be computed. The kernel that has one must not be lost."""
    path = write(folder / "late.json")
    kernel = await registry.start("tiny_plain", kernel_id=ExternalKernels._kernel_id(path))
    assert await names(registry, folder) == ["tiny_plain"]
    assert registry.list() == [kernel]
    warnings.append("ignoring late.json: it would have the id of another kernel")


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("@abstract", "has sockets without an absolute path"),
        ("relative/kernel", "has sockets without an absolute path"),
        ("{open}/kernel", "has sockets in a folder that can be written to by others (mode 1777)"),
        ("{own}/file", "has a path of a socket at which there is none"),
        ("{own}/link", "has a path of a socket at which there is none"),
    ],
)
async def test_sockets_that_others_could_have_made(
    registry: KernelRegistry, folder: Path, warnings: list[str], ip: str, why: str
) -> None:
    shared, own = folder / "shared", folder / "own"
    shared.mkdir()
    shared.chmod(0o1777)
    own.mkdir(mode=0o700)
    (own / "file-1").touch()
    (own / "link-1").symlink_to("/run/elsewhere")
    ports = {f"{channel}_port": number + 1 for number, channel in enumerate(CHANNELS)}
    write(folder / "ipc.json", transport="ipc", ip=ip.format(open=shared, own=own), **ports)
    assert await names(registry, folder, ExternalPolicy(allow_remote=True)) == []
    warnings.append(f"ignoring ipc.json: it {why}")


async def test_sockets_in_a_folder_of_our_own(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    ports = {f"{channel}_port": number + 1 for number, channel in enumerate(CHANNELS)}
    write(folder / "ipc.json", transport="ipc", ip=str(folder / "kernel"), **ports)
    assert await names(registry, folder) == ["ipc"]


async def test_sockets_whose_paths_are_too_long(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    ports = {f"{channel}_port": number + 1 for number, channel in enumerate(CHANNELS)}
    prefix = str(folder / ("k" * 106))
    write(folder / "ipc.json", transport="ipc", ip=prefix, **ports)
    assert await names(registry, folder) == []
    why = f"has sockets whose paths have {len(prefix) + 2} bytes, more than the 107 that are possible"
    warnings.append(f"ignoring ipc.json: it {why}")


async def test_an_encrypted_kernel_needs_curve(
    registry: KernelRegistry, folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmq.has", lambda name: name != "curve")
    write(folder / "curve.json", curve_publickey="k" * 40, curve_secretkey="k" * 40)
    assert await names(registry, folder) == []
    warnings.append("ignoring curve.json: it is for an encrypted connection, and this libzmq was built without CURVE")


async def test_a_folder_that_cannot_be_watched_is_looked_at(
    registry: KernelRegistry, folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr("fps_kernels.kernels.external_folder.RESCAN_MS", 10)
    external = ExternalKernels(registry, folder)
    watching = asyncio.create_task(external.watch())
    try:
        write(folder / "late.json")
        await until(registry.list)
    finally:
        external.stop()
        await watching
    warnings.append(
        f"{folder} cannot be watched (import of watchfiles halted; None in sys.modules): looking at it every 0.01 s"
    )


async def test_a_folder_that_cannot_be_made_is_told(registry: KernelRegistry, warnings: list[str]) -> None:
    await ExternalKernels(registry, Path("/proc/no-folder")).watch()
    warnings.append("No external kernels are connected to: /proc/no-folder: No such file or directory")


async def test_a_reason_that_changes_is_told_again(registry: KernelRegistry, folder: Path, warnings: list[str]) -> None:
    external = ExternalKernels(registry, folder)
    path = write(folder / "a.json", 0o666)
    for _ in range(2):
        await external._scan()
    path.chmod(0o600)
    path.write_text("{")
    for _ in range(2):
        await external._scan()
    warnings += ["ignoring a.json: it can be written to by others (mode 0666)", "ignoring a.json: it is not valid JSON"]


async def test_a_file_that_is_being_written_again_keeps_its_kernel(registry: KernelRegistry, folder: Path) -> None:
    external = ExternalKernels(registry, folder)
    path = write(folder / "a.json")
    await external._scan()
    [kernel] = registry.list()
    whole = path.read_text()
    for text in ("", whole[:20], whole):
        path.write_text(text)
        await external._scan()
        assert registry.list() == [kernel]


async def test_a_file_that_stays_broken_loses_its_kernel(
    registry: KernelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fps_kernels.kernels.external_folder.HALF_WRITTEN_S", 0)
    external = ExternalKernels(registry, folder)
    path = write(folder / "a.json")
    await external._scan()
    path.write_text("{")
    await external._scan()
    assert registry.list() == []


async def test_a_file_that_others_can_write_to_meanwhile_loses_its_kernel(
    registry: KernelRegistry, folder: Path, warnings: list[str]
) -> None:
    external = ExternalKernels(registry, folder)
    path = write(folder / "a.json")
    await external._scan()
    path.chmod(0o666)
    await external._scan()
    assert registry.list() == []
    warnings.append("ignoring a.json: it can be written to by others (mode 0666)")


async def test_the_dead_make_room_for_others(registry: KernelRegistry, folder: Path) -> None:
    external = ExternalKernels(registry, folder, ExternalPolicy(max_kernels=1))
    write(folder / "a.json")
    await external._scan()
    [kernel] = registry.list()
    kernel.driver._become_dead("nobody is there")
    write(folder / "b.json")
    for _ in range(2):
        await external._scan()
    assert [one.driver.name for one in registry.list()] == ["b"]
    await external._searches.close()


async def test_a_file_that_somebody_left_is_not_listed_for_long_and_comes_back_when_it_answers(
    registry: KernelRegistry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fps_kernels.kernels.external_folder.LEFT_S", 0)
    external = ExternalKernels(registry, folder)
    kernel = ExternalKernel(tmp_path)
    try:
        kernel.stop()
        kernel.show(folder).chmod(0o600)
        await external._scan()
        [listed] = registry.list()
        listed.driver._become_dead("nobody is there")
        await external._scan()
        assert registry.list() == []
        kernel.restart()

        async def is_back() -> bool:
            await external._scan()
            return [one.execution_state for one in registry.list()] == ["idle"]

        await until(is_back, 30)
        assert [one.id for one in registry.list()] == [listed.id]
    finally:
        await external._searches.close()
        kernel.stop()
