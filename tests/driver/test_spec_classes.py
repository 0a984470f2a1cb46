"""Classes of others that find kernelspecs and start kernels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from fps_kernels.errors import BadOption, KernelspecNotFound, KernelspecsTimeout, KernelspecsUnavailable
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.spec_classes import SpecClasses

from ..support.drivers import Drivers, run
from ..support.plugins import spec_managers
from ..support.plugins.noting_provisioner import install
from ..support.plugins.spec_managers import NAME, Gated, Shelf
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

MODULE = spec_managers.__name__


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    """The factory of provisioners is one for the whole process: tests of others have it as it was."""
    instance = KernelProvisionerFactory.instance()
    before = instance.default_provisioner_name
    yield
    instance.default_provisioner_name = before


async def opened(manager: Any = "", *, allowed: list[str] | None = None, **more: Any) -> Kernelspecs:
    timeout_s = more.pop("timeout_s", 30)
    specs = Kernelspecs(allowed=allowed or [], classes=SpecClasses(manager, **more), timeout_s=timeout_s)
    await specs.open()
    return specs


@pytest.mark.parametrize("manager", [f"{MODULE}.Shelf", Shelf])
async def test_what_a_class_finds_is_listed_and_can_be_started(kernels: Drivers, manager: Any) -> None:
    kernels.specs = specs = await opened(manager)
    listed = (await specs.list_all())["kernelspecs"]
    assert {NAME, "tiny_plain"} <= listed.keys()
    assert listed[NAME]["spec"]["display_name"] == "X"
    assert (await specs.run(specs.model, NAME))["name"] == NAME
    driver = await kernels.start(NAME, extra_env={"KERNEL_USERNAME": "ann"})
    for _ in range(2):
        assert await run(driver.client, "import os; stream(os.environ['WHO'])") == "ann"
        await driver.restart()


async def test_a_class_has_its_options(kernels: Drivers) -> None:
    specs = await opened(f"{MODULE}.Shelf", config={"Shelf": {"label": " marks the spot"}, "Other": {"label": "y"}})
    assert (await specs.list_all())["kernelspecs"][NAME]["spec"]["display_name"] == "X marks the spot"


@pytest.mark.parametrize("allowed", [NAME, NAME.lower()])
async def test_what_is_not_allowed_is_neither_listed_nor_started(kernels: Drivers, allowed: str) -> None:
    specs = await opened(f"{MODULE}.Shelf", allowed=[allowed])
    model = await specs.list_all()
    assert list(model["kernelspecs"]) == [model["default"]] == [NAME]
    assert (await specs.find(NAME)).name == NAME
    with pytest.raises(KernelspecNotFound):
        await specs.find("tiny_plain")


@pytest.mark.parametrize(
    ("manager", "said"),
    [
        ("no_such_module.Class", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{MODULE}.NoSuchClass", "cannot be imported: ImportError"),
        ("nodots", "cannot be imported: ModuleNotFoundError"),
        (".", "cannot be imported: "),
        ("..a", "cannot be imported: "),
        (f"{MODULE}.NoManager", "not a class derived from jupyter_client.kernelspec.KernelSpecManager"),
        (f"{MODULE}.a_function", "not a class derived from"),
        (MODULE, "not a class derived from"),
        (dict, "builtins.dict: not a class derived from"),
        (f"{MODULE}.Broken", "cannot be made: RuntimeError: no conda"),
        (f"{MODULE}.Exiting", "cannot be made: SystemExit: 3"),
    ],
)
async def test_a_class_that_cannot_be_used_is_refused(manager: Any, said: str) -> None:
    with pytest.raises(BadOption, match=r"^kernel_spec_manager_class=") as caught:
        await opened(manager)
    assert said in caught.value.message


async def test_an_option_of_the_class_with_a_wrong_value_is_refused() -> None:
    with pytest.raises(BadOption, match=r"cannot be made: TraitError: .*label"):
        await opened(f"{MODULE}.Shelf", config={"Shelf": {"label": 5}})


async def test_a_class_that_raises_says_so_and_is_asked_again(
    kernels: Drivers, caplog: pytest.LogCaptureFixture
) -> None:
    specs = await opened(f"{MODULE}.Raising")
    for _ in range(2):
        with pytest.raises(KernelspecsUnavailable) as caught:
            await specs.list_all()
        assert "conda" not in caught.value.message  # clients are told nothing of the machine
    assert f"{MODULE}.Raising cannot list kernelspecs: OSError: no conda" in caplog.text
    with pytest.raises(KernelspecNotFound):
        await specs.find("tiny_plain")
    with pytest.raises(KernelspecsUnavailable):
        await specs.find(None)


async def test_a_class_that_returns_nonsense_is_survived(kernels: Drivers) -> None:
    specs = await opened(f"{MODULE}.Odd")
    with pytest.raises(KernelspecsUnavailable):
        await specs.list_all()
    with pytest.raises(KernelspecNotFound):
        await specs.find("tiny_plain")
    with pytest.raises(KernelspecsUnavailable):
        await specs.run(specs.default)


# --- slow ones ------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    Gated.gate, Gated.calls = threading.Event(), 0
    yield Gated.gate
    Gated.gate.set()


async def test_a_slow_class_is_waited_for_and_asked_once(kernels: Drivers, gate: threading.Event) -> None:
    specs = await opened(Gated)
    waiting = [asyncio.create_task(specs.list_all()) for _ in range(5)]
    await until(lambda: Gated.calls)
    asked = Gated.calls
    await asyncio.sleep(0)  # the loop turns meanwhile
    assert not any(task.done() for task in waiting)
    gate.set()
    lists = await asyncio.gather(*waiting)
    assert all("tiny_plain" not in one["kernelspecs"] for one in lists)
    assert asked == 1


async def test_a_class_that_never_answers_is_given_up_until_it_does(
    kernels: Drivers, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    specs = await opened(Gated, timeout_s=0.05)
    with pytest.raises(KernelspecsTimeout):
        await specs.list_all()
    with pytest.raises(KernelspecsTimeout):  # nothing is asked of it meanwhile
        await specs.find("tiny_plain")
    assert f"{MODULE}.Gated has not found the kernelspecs within 0.05 s" in caplog.text
    gate.set()
    specs._timeout_s = 30
    await specs.list_all()


async def test_a_kernel_is_restarted_while_its_class_does_not_answer(
    kernels: Drivers, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = await kernels.start()
    specs = driver._launcher._specs = await opened(Gated)  # type: ignore[attr-defined]
    listing = asyncio.create_task(specs.list_all())
    await until(lambda: Gated.calls)
    monkeypatch.setattr("fps_kernels.kernel_driver.launcher.LOOK_S", 0.05)
    await driver.restart()
    assert "cannot be found (not within 0.05 s); it starts again as it was launched" in caplog.text
    gate.set()
    await listing


# --- the native kernelspec, and provisioners ------------------------------------------------------


async def test_without_a_native_kernelspec_it_is_neither_listed_nor_started(
    kernels: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = await opened(ensure_native_kernel=False)
    specs.manager.kernel_dirs = [str(kernels.share / "kernels")]
    assert "python3" not in (await specs.list_all())["kernelspecs"]
    assert await specs.run(specs.default) != "python3"
    for name in ("python3", "python", "Python3"):
        with pytest.raises(KernelspecNotFound):
            await specs.find(name)


@pytest.fixture
def noting(kernels: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drivers:
    monkeypatch.syspath_prepend(install(tmp_path / "lib"))
    return kernels


@pytest.mark.parametrize("how", ["option", "variable"])
async def test_the_default_provisioner_starts_kernels_that_name_none(
    noting: Drivers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "variable":
        monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "noting")
    noting.specs = await opened(default_provisioner="noting" if how == "option" else "")
    assert not noting.specs.classes.is_local(await noting.specs.find("tiny_plain"))
    driver = await noting.start(extra_env={"KERNEL_USERNAME": "ann"})
    assert await run(driver.client, "import os; stream(os.environ['SEEN_BY_PROVISIONER'])") == "ann"


async def test_an_empty_variable_names_no_provisioner(kernels: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "")
    kernels.specs = await opened()
    assert kernels.specs.classes.is_local(await kernels.specs.find("tiny_plain"))
    driver = await kernels.start()
    assert await run(driver.client, "stream('there')") == "there"


@pytest.mark.parametrize("how", ["default_provisioner_name", "JUPYTER_DEFAULT_PROVISIONER_NAME"])
async def test_a_default_provisioner_that_is_not_installed_is_refused(
    noting: Drivers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how != "default_provisioner_name":
        monkeypatch.setenv(how, "nothing")
    with pytest.raises(BadOption) as caught:
        await opened(default_provisioner="nothing" if how == "default_provisioner_name" else "")
    assert caught.value.message.startswith(f"{how}=nothing: there is no such provisioner; installed are ")
    assert "local-provisioner" in caught.value.message


async def test_a_provisioner_that_cannot_be_imported_fails_the_start(noting: Drivers) -> None:
    noting.specs = await opened(default_provisioner="missing")
    driver = noting.make()
    with pytest.raises(Exception, match="NoSuchClass"):
        await driver.start()
