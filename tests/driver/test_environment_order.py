"""What a request sets is there when a kernelspec's env is evaluated, and when a provisioner prepares a launch."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernel_driver.spec_classes import SpecClasses
from fps_kernels.kernels.prewarm import Pacing
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.sessions import KernelChoice, SessionStore

from ..support.drivers import Drivers, run
from ..support.kernelspecs import KERNEL, add_kernelspec
from ..support.plugins.noting_provisioner import install
from ..support.waits import until

pytestmark = pytest.mark.usefixtures("bounded")

SHOW_ENV = "import json, os\nstream(json.dumps(dict(os.environ)))"
SHOW_ENV_IPYTHON = "import json, os; print(json.dumps(dict(os.environ)), end='')"


def tiny(**fields: Any) -> dict[str, Any]:
    argv = [sys.executable, str(KERNEL), "plain", "{connection_file}"]
    return {"argv": argv, "display_name": "Mine", "language": "python", **fields}


async def environment(driver: Any) -> dict[str, str]:
    environ: dict[str, str] = json.loads(await run(driver.client, SHOW_ENV))
    return environ


async def test_a_kernelspec_is_made_from_what_a_request_sets(kernels: Drivers) -> None:
    env = {
        "WHO": "${KERNEL_USERNAME}",
        "PLAIN": "$KERNEL_USERNAME",
        "TWO": "${SERVER}-${KERNEL_USERNAME}",
        "HOMES": "/home/${KERNEL_BOTH}",
        "KERNEL_BOTH": "of the kernelspec",
        "KERNEL_LONGER": "/opt:${KERNEL_LONGER}",
        "UNKNOWN": "${KERNEL_UNKNOWN}",
        "DOLLAR": "$$KERNEL_USERNAME",
    }
    add_kernelspec(kernels.share, "mine", tiny(env=env))
    requested = {"KERNEL_USERNAME": "ann", "KERNEL_BOTH": "bob", "KERNEL_LONGER": "/usr", "KERNEL_TEXT": "${SERVER}"}
    driver = await kernels.start("mine", env={"SERVER": "s", "KERNEL_USERNAME": "server"}, extra_env=requested)
    for _ in range(2):
        environ = await environment(driver)
        assert {name: environ[name] for name in (*env, *requested)} == {
            "WHO": "ann",
            "PLAIN": "ann",
            "TWO": "s-ann",
            "HOMES": "/home/bob",
            "KERNEL_BOTH": "bob",
            "KERNEL_LONGER": "/opt:/usr",
            "UNKNOWN": "${KERNEL_UNKNOWN}",
            "DOLLAR": "$KERNEL_USERNAME",
            "KERNEL_USERNAME": "ann",
            "KERNEL_TEXT": "${SERVER}",
        }
        await driver.restart()


async def test_one_requests_variables_are_not_anothers(kernels: Drivers) -> None:
    add_kernelspec(kernels.share, "mine", tiny(env={"WHO": "${KERNEL_USERNAME}"}))
    ann = await kernels.start("mine", extra_env={"KERNEL_USERNAME": "ann"})
    nobody = await kernels.start("mine")
    assert (await environment(ann))["WHO"] == "ann"
    assert (await environment(nobody))["WHO"] == "${KERNEL_USERNAME}"


# --- provisioners ---------------------------------------------------------------------------------


@pytest.fixture
def noting(kernels: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drivers:
    """With the noting provisioner installed."""
    monkeypatch.syspath_prepend(install(tmp_path / "lib"))
    kernels.specs = Kernelspecs()  # it looks for provisioners when it is first used
    return kernels


def provisioned(name: str = "noting", **config: Any) -> dict[str, Any]:
    return {"kernel_provisioner": {"provisioner_name": name, "config": config}}


async def test_a_provisioner_sees_what_a_request_sets(noting: Drivers) -> None:
    add_kernelspec(noting.share, "mine", tiny(metadata=provisioned()))
    driver = await noting.start("mine", extra_env={"KERNEL_USERNAME": "ann", "KERNEL_CHANGED": "by the request"})
    for _ in range(2):
        environ = await environment(driver)
        assert environ["SEEN_BY_PROVISIONER"] == "ann"
        assert environ["KERNEL_CHANGED"] == "by the provisioner"  # which knew what was wanted
        assert environ["KERNEL_USERNAME"] == "ann"
        await driver.restart()


async def test_a_provisioner_has_the_configuration_of_its_kernelspec(noting: Drivers) -> None:
    add_kernelspec(noting.share, "mine", tiny(metadata=provisioned(noted="KERNEL_X", label="configured: ")))
    driver = await noting.start("mine", extra_env={"KERNEL_X": "x"})
    assert (await environment(driver))["SEEN_BY_PROVISIONER"] == "configured: x"


async def test_a_provisioner_has_the_options_of_its_class(noting: Drivers) -> None:
    add_kernelspec(noting.share, "mine", tiny(metadata=provisioned()))
    noting.specs = Kernelspecs(classes=SpecClasses(config={"NotingProvisioner": {"label": "set: "}}))
    driver = await noting.start("mine", extra_env={"KERNEL_USERNAME": "ann"})
    assert (await environment(driver))["SEEN_BY_PROVISIONER"] == "set: ann"


async def test_a_notebooks_odd_name_is_no_matter_for_a_provisioner_of_this_machine(noting: Drivers) -> None:
    add_kernelspec(noting.share, "mine", tiny(metadata=provisioned()))
    driver = await noting.start("mine", extra_env={"JPY_SESSION_NAME": "/a/$(b).ipynb"})
    assert (await environment(driver))["JPY_SESSION_NAME"] == "/a/$(b).ipynb"


# --- the name of the session ----------------------------------------------------------------------


def session_of(kernels: Drivers, driver: Any) -> str:
    name: str = json.loads(kernels.connection_file(driver).read_text())["jupyter_session"]
    return name


async def test_the_connection_file_names_the_notebook(kernels: Drivers) -> None:
    driver = await kernels.start(extra_env={"JPY_SESSION_NAME": "/a/ü $(b).ipynb"})
    assert session_of(kernels, driver) == "/a/ü $(b).ipynb"
    await driver.restart()
    assert session_of(kernels, driver) == "/a/ü $(b).ipynb"
    driver.set_environment(JPY_SESSION_NAME="/b.ipynb")
    await driver.restart()
    assert session_of(kernels, driver) == "/b.ipynb"


async def test_the_connection_file_of_a_kernel_without_a_notebook_names_none(kernels: Drivers) -> None:
    assert session_of(kernels, await kernels.start()) == ""


# --- kernels that are kept ready ------------------------------------------------------------------


@pytest.fixture
async def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KernelRegistry]:
    """A registry that keeps a kernel ready whose kernelspec is made from variables."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    env = {"WHO": "${KERNEL_USERNAME}"}
    add_kernelspec(tmp_path / "share", "mine", {"argv": argv, "display_name": "", "language": "python", "env": env})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    folders: dict[str, Any] = {"root_dir": str(tmp_path), "connection_dir": str(tmp_path / "runtime")}
    config = KernelsConfig(**folders, prewarm={"mine": 1}, start_answer_s=60)
    registry = KernelRegistry(config.options(), Kernelspecs(), pacing=Pacing(quiet_s=0.1, patience_s=0.5))
    yield registry
    await registry.stop()


async def fill(registry: KernelRegistry) -> None:
    """Not in the fixture: pytest has a variable of its own that says where it is."""
    await registry.open()
    await until(lambda: registry.prewarmed.ready == 1, 50)


async def test_one_becomes_a_notebooks_kernel_and_its_file_names_that(
    ready: KernelRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await fill(ready)
    session = await SessionStore(ready).create("a.ipynb", "", "notebook", KernelChoice(None, "mine", named=True))
    assert f"kernel {session.kernel_id}: using a prewarmed kernel" in caplog.text
    path = tmp_path / "runtime" / f"kernel-{session.kernel_id}.json"
    assert json.loads(path.read_text())["jupyter_session"] == str(tmp_path / "a.ipynb")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "runtime").glob("*.part")) == []


async def test_one_does_not_become_what_its_kernelspec_would_have_made_otherwise(
    ready: KernelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await fill(ready)
    kernel = await ready.start("mine", env={"KERNEL_USERNAME": "ann", "KERNEL_OTHER": "x"})
    assert json.loads(await run(kernel.client, SHOW_ENV_IPYTHON))["WHO"] == "ann"
    assert "using a prewarmed kernel" not in caplog.text
