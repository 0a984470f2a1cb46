"""Kernels of a registry while they come and go, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fps_kernels.kernels.external_folder import ExternalKernels
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import KernelChoice, SessionStore

PLAIN = "tiny_plain"


async def test_a_watcher_is_told_who_comes_and_who_goes(registry: KernelRegistry) -> None:
    told: list[tuple[str, str]] = []
    first = await registry.start(PLAIN)
    registry.watch(
        lambda kernel_id: told.append(("added", kernel_id)), on_removed=lambda one: told.append(("gone", one))
    )
    second = await registry.start(PLAIN)
    await registry.shutdown(first.id)
    assert told == [("added", first.id), ("added", second.id), ("gone", first.id)]


async def test_whoever_no_longer_watches_is_told_nothing(registry: KernelRegistry) -> None:
    told: list[str] = []

    def tell(kernel_id: str) -> None:
        told.append(kernel_id)

    registry.watch(tell, on_removed=tell)
    registry.unwatch(tell)
    registry.unwatch(tell)
    await registry.shutdown((await registry.start(PLAIN)).id)
    assert told == []


async def test_a_watcher_that_fails_harms_no_other(registry: KernelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def fail(kernel_id: str) -> None:
        raise ZeroDivisionError("division by zero")

    registry.watch(fail, on_removed=fail)
    registry.watch(told.append, on_removed=told.append)
    kernel = await registry.start(PLAIN)
    await registry.shutdown(kernel.id)
    assert told == [kernel.id, kernel.id]
    assert caplog.text.count("ZeroDivisionError: division by zero") == 2


async def test_each_store_forgets_the_sessions_of_a_kernel_that_is_gone(registry: KernelRegistry) -> None:
    stores = [SessionStore(registry), SessionStore(registry)]
    choice = KernelChoice((await registry.start(PLAIN)).id)
    sessions = [await store.create("a.ipynb", "", "notebook", choice) for store in stores]
    assert {session.kernel_id for session in sessions} == {choice.id}
    await registry.shutdown(sessions[0].kernel_id)
    assert [store.list() for store in stores] == [[], []]


async def test_an_external_kernel_that_appears_after_the_end_is_left_alone(
    registry: KernelRegistry, tmp_path: Path
) -> None:
    """Nothing would ever disconnect from it."""
    await registry.stop()
    folder = tmp_path / "external"
    folder.mkdir()
    ports = {
        f"{channel}_port": 1 + number for number, channel in enumerate(("shell", "iopub", "stdin", "control", "hb"))
    }
    info = {**ports, "ip": "127.0.0.1", "transport": "tcp", "key": "k", "signature_scheme": "hmac-sha256"}
    (folder / "late.json").write_text(json.dumps(info))
    external = ExternalKernels(registry, folder)
    external.stop()
    await external.watch()  # scans once
    assert registry.list() == []
