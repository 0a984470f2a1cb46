"""Sessions while their kernels come and go, without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fps_kernels.errors import NoSuchKernel
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import KernelChoice, SessionStore

from ..support.drivers import run
from ..support.waits import until

PLAIN = KernelChoice(None, "tiny_plain", named=True)
STUBBORN = KernelChoice(None, "tiny_ignores_sigterm", named=True)


async def test_a_path_whose_kernel_is_ending_gets_another(registry: KernelRegistry) -> None:
    sessions = SessionStore(registry)
    old = await sessions.create("a.ipynb", "", "notebook", STUBBORN)
    ending = asyncio.create_task(registry.shutdown(old.kernel_id))
    await asyncio.sleep(0)
    new = await sessions.create("a.ipynb", "", "notebook", PLAIN)
    assert ending.done()
    assert sessions.list() == [new]
    assert registry.get(new.kernel_id).execution_state == "idle"


async def test_nothing_is_attached_to_a_kernel_that_is_ending(registry: KernelRegistry) -> None:
    sessions = SessionStore(registry)
    old = await sessions.create("a.ipynb", "", "notebook", STUBBORN)
    other = await sessions.create("b.ipynb", "", "notebook", PLAIN)
    ending = asyncio.create_task(registry.shutdown(old.kernel_id))
    await asyncio.sleep(0)
    choice = KernelChoice(old.kernel_id, "tiny_plain", named=True)
    changing = asyncio.create_task(sessions.change(other.id, choice=KernelChoice(old.kernel_id)))
    new = await sessions.create("c.ipynb", "", "notebook", choice)
    assert ending.done()
    assert registry.get(new.kernel_id).driver.name == "tiny_plain"
    with pytest.raises(NoSuchKernel):
        await changing


async def test_a_kernel_is_told_the_name_that_its_notebook_got_while_it_started(
    registry: KernelRegistry, tmp_path: Path
) -> None:
    sessions = SessionStore(registry)
    session = await sessions.create("a.ipynb", "", "notebook", PLAIN)
    slow = KernelChoice(None, "tiny_slow", named=True)
    changing = asyncio.create_task(sessions.change(session.id, choice=slow))
    await until(lambda: len(registry.list()) >= 2)
    await sessions.change(session.id, path="b.ipynb")
    await changing
    kernel = await registry.restart(session.kernel_id)
    printed = await run(kernel.client, "import os; stream(os.environ['JPY_SESSION_NAME'])")
    assert printed == str(tmp_path / "b.ipynb")
