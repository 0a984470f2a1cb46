"""Kernels that are kept ready: what is handed over is as new, or it is not handed over."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from fps_kernels.errors import Conflict, KernelStartFailed, LimitReached
from fps_kernels.gateway.seed import Seed
from fps_kernels.hosts.asphalt.config import KernelsConfig
from fps_kernels.hosts.jupyverse.configuration import InvalidConfiguration
from fps_kernels.kernel_driver.client import KernelClient
from fps_kernels.kernel_driver.kernelspec import Kernelspecs
from fps_kernels.kernels.kernel import Kernel
from fps_kernels.kernels.prewarm import Pacing
from fps_kernels.kernels.registry import KernelRegistry
from fps_kernels.kernels.start_policy import StartPolicy

from ..support import waits
from ..support.drivers import run
from ..support.inside import SEEN
from ..support.kernelspecs import add_kernelspec, install_kernelspecs

until = partial(waits.until, timeout_s=100)  # kernels of IPython, one after the other
NOT_IPYTHON = "tiny_plain"
Registries = Callable[..., KernelRegistry]


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """Everything here must end by itself, long before this."""
    async with asyncio.timeout(100):
        yield


@pytest.fixture
async def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registries]:
    """registries(policy, **options) makes a registry that keeps kernels ready; at the end nothing may be left of it."""
    install_kernelspecs(tmp_path / "share")
    (tmp_path / "root" / "below").mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    made: list[KernelRegistry] = []

    def make(policy: StartPolicy | None = None, **values: Any) -> KernelRegistry:
        folders = {"root_dir": str(tmp_path / "root"), "connection_dir": str(tmp_path / "runtime")}
        values = folders | {"start_answer_s": 60.0} | values
        config = KernelsConfig(**values).options()
        pacing = Pacing(quiet_s=0.1, patience_s=0.5)  # however busy the machine is
        registry = KernelRegistry(config, Kernelspecs(config.default_kernel), policy, pacing=pacing)
        made.append(registry)
        registry.prewarmed.start()
        return registry

    before = {process.pid for process in psutil.Process().children()}
    yield make
    await asyncio.gather(*(registry.stop() for registry in made))
    assert not [process for process in psutil.Process().children() if process.pid not in before]
    assert not list((tmp_path / "runtime").rglob("*.json"))
    assert not [task.get_name() for task in asyncio.all_tasks() if "warm" in task.get_name()]


async def full(registry: KernelRegistry, count: int = 1) -> None:
    """Wait until so many kernels could be taken."""
    await until(lambda: registry.prewarmed.ready == count)


async def gone(number: int) -> None:
    await until(lambda: not psutil.pid_exists(number))


def pid(kernel: Kernel) -> int:
    assert kernel.driver.pid is not None
    return kernel.driver.pid


def children() -> set[int]:
    """The kernels that run; not the shell that watches over them."""
    found = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
            if any("ipykernel_launcher" in argument for argument in process.cmdline()):
                found.add(process.pid)
    return found


async def evaluate(kernel: Kernel, expression: str) -> Any:
    content = {"code": "", "silent": True, "user_expressions": {"answer": expression}}
    reply = await kernel.client.request("shell", "execute_request", content, timeout_s=30)
    return ast.literal_eval(reply.content["user_expressions"]["answer"]["data"]["text/plain"])


async def look(kernel: Kernel) -> Any:
    """What code in the kernel can see of it."""
    return json.loads(await run(kernel.client, SEEN))


# --- what is handed over --------------------------------------------------------------------------


async def test_a_kernel_that_is_handed_over_is_as_a_new_one(registries: Registries, tmp_path: Path) -> None:
    registry, cold = registries(), registries(prewarm=0)
    await full(registry)
    [ready] = children()
    request: dict[str, Any] = {
        "path": "below/a.ipynb",
        "session_path": "below/a.ipynb",
        "env": {"KERNEL_USERNAME": "me"},
    }
    kernel, new = await registry.start(**request), await cold.start(**request)
    assert pid(kernel) == ready != pid(new)
    assert (tmp_path / "runtime" / f"kernel-{kernel.id}.json").exists()
    seen, expected = await look(kernel), await look(new)
    assert expected["folder"] == str(tmp_path / "root" / "below")
    assert expected["environment"]["KERNEL_USERNAME"] == "me"
    assert expected["session"] == str(tmp_path / "root" / "below" / "a.ipynb")
    # The kernel's id is in its connection file's name, which is all that may differ.
    assert json.loads(json.dumps(seen).replace(kernel.id, new.id)) == expected


async def test_each_start_gets_another_kernel(registries: Registries) -> None:
    registry = registries(prewarm=2)
    await full(registry, 2)
    ready = children()
    kernels = await asyncio.gather(*(registry.start() for _ in range(3)))
    assert len({pid(kernel) for kernel in kernels}) == 3
    assert ready < {pid(kernel) for kernel in kernels}


async def test_the_place_of_one_that_was_taken_is_filled(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    kernel = await registry.start()
    await full(registry)
    assert pid(kernel) not in children() - {pid(kernel)}
    assert len(children()) == 2


async def test_a_restart_takes_one_and_the_id_stays(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    kernel = await registry.start(path="below")
    await full(registry)
    [ready] = children() - {pid(kernel)}
    await registry.restart(kernel.id)
    assert pid(kernel) == ready
    assert (await evaluate(kernel, "__import__('os').getcwd()")).endswith("/below")
    path = await evaluate(kernel, "__import__('ipykernel').get_connection_file()")
    assert path.endswith(f"/kernel-{kernel.id}.json")


async def test_a_death_takes_one(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    kernel = await registry.start()
    first = pid(kernel)
    await full(registry)
    [ready] = children() - {first}
    os.kill(first, signal.SIGKILL)
    await until(lambda: kernel.driver.pid == ready)
    await kernel.client.wait_ready()
    assert await evaluate(kernel, "6 * 7") == 42


async def test_a_start_waits_for_one_that_is_on_its_way(registries: Registries) -> None:
    registry = registries()
    await until(children)
    [starting] = children()
    assert registry.prewarmed.ready == 0
    kernel = await registry.start()
    assert pid(kernel) == starting


async def test_the_id_that_is_asked_for_is_given(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    kernel = await registry.start(kernel_id="f0f0f0f0-0000-4000-8000-000000000001")
    assert (kernel.id, pid(kernel)) == ("f0f0f0f0-0000-4000-8000-000000000001", ready)


# --- what is not handed over ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "OMP_NUM_THREADS", "JPY_SESSION_NAMES"])
async def test_what_is_read_at_the_launch_is_there_at_the_launch(registries: Registries, name: str) -> None:
    registry = registries(client_env=[name])
    await full(registry)
    [ready] = children()
    kernel = await registry.start(env={name: "1"})
    assert pid(kernel) != ready
    assert await evaluate(kernel, f"__import__('os').environ[{name!r}]") == "1"
    assert registry.prewarmed.ready == 1  # it is still good for others
    assert pid(await registry.start()) == ready


async def test_the_environment_is_the_servers_of_now(registries: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registries()
    await full(registry)
    monkeypatch.setenv("NOW", "yes")
    assert await evaluate(await registry.start(), "__import__('os').environ['NOW']") == "yes"


async def test_one_whose_environment_is_of_the_past_is_replaced(
    registries: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    monkeypatch.setenv("NOW", "yes")
    await registry.start(NOT_IPYTHON)
    await gone(ready)
    await full(registry)


async def test_one_whose_kernelspec_was_removed_is_ended(registries: Registries, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Mine", "language": "python"}
    folder = add_kernelspec(tmp_path / "share", "mine", spec)
    registry = registries(prewarm={"mine": 1})
    await full(registry)
    [ready] = children()
    (folder / "kernel.json").unlink()
    await registry.start(NOT_IPYTHON)
    await gone(ready)


async def test_a_package_that_was_installed_meanwhile_is_seen(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{packages}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    registry = registries()
    await full(registry)
    [ready] = children()
    (packages / "new_package.py").touch()
    assert pid(await registry.start()) != ready
    await gone(ready)


async def test_one_that_imports_from_its_folder_goes_to_no_other(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    registry = registries()
    await full(registry)
    [ready] = children()
    path = await evaluate(await registry.start(path="below"), "__import__('sys').path")
    assert str(tmp_path / "root" / "below" / "src") in path
    assert pid(await registry.start()) == ready


async def test_a_module_of_the_kernel_that_was_changed_is_loaded_anew(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody works on what each Python imports."""
    module = tmp_path / "packages" / "sitecustomize.py"
    module.parent.mkdir()
    module.write_text("import sys; sys.version_of_mine = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(module.parent))
    registry = registries()
    await full(registry)
    with module.open("a") as file:
        file.write("sys.version_of_mine = 2\n")
    assert await evaluate(await registry.start(), "__import__('sys').version_of_mine") == 2


async def test_a_configuration_that_was_written_meanwhile_is_heeded(registries: Registries, tmp_path: Path) -> None:
    registry = registries()
    await full(registry)
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "ipython_kernel_config.py").write_text("c.InteractiveShell.colors = 'nocolor'\n")
    assert await evaluate(await registry.start(), "get_ipython().colors") == "nocolor"


async def test_a_kernelspec_that_was_changed_is_heeded(registries: Registries, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Mine", "language": "python", "env": {"WHICH": "old"}}
    folder = add_kernelspec(tmp_path / "share", "mine", spec)
    registry = registries(prewarm={"mine": 1})
    await full(registry)
    (folder / "kernel.json").write_text(json.dumps(spec | {"env": {"WHICH": "new"}}))
    assert await evaluate(await registry.start("mine"), "__import__('os').environ['WHICH']") == "new"


async def test_a_script_that_launches_it_and_was_changed_is_heeded(registries: Registries, tmp_path: Path) -> None:
    argv = ["{resource_dir}/start.sh", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Mine", "language": "python"}
    script = add_kernelspec(tmp_path / "share", "mine", spec) / "start.sh"
    text = f'#!/bin/sh\nexport WHICH=old\nexec {sys.executable} -m ipykernel_launcher "$@"\n'
    script.write_text(text)
    script.chmod(0o755)
    registry = registries(prewarm={"mine": 1})
    await full(registry)
    script.write_text(text.replace("old", "new"))
    assert await evaluate(await registry.start("mine"), "__import__('os').environ['WHICH']") == "new"


async def test_kernels_with_startup_files_are_not_kept(
    registries: Registries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They may look at the folder or the environment."""
    caplog.set_level("INFO")
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "where.py").write_text("import os; where = os.getcwd()")
    registry = registries()
    await _logged(caplog, "user code runs when they start: where.py")
    kernel = await registry.start(path="below")
    assert (await evaluate(kernel, "where")).endswith("/below")


async def test_kernels_that_restore_variables_are_not_kept(
    registries: Registries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("c.StoreMagics.autorestore = True\n")
    registries()
    await _logged(caplog, "user code runs when they start: StoreMagics.autorestore")


async def test_kernels_with_an_extension_in_their_command_are_not_kept(
    registries: Registries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--ext", "autoreload"]
    add_kernelspec(tmp_path / "share", "mine", {"argv": argv, "display_name": "Mine", "language": "python"})
    registries(prewarm={"mine": 1})
    await _logged(caplog, "user code runs when they start: extra_extensions")


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads all")
async def test_a_folder_of_the_path_that_cannot_be_read_is_no_obstacle(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir(mode=0)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "private"))
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    if os.geteuid() == 0:
        argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *argv]
    add_kernelspec(tmp_path / "share", "mine", {"argv": argv, "display_name": "Mine", "language": "python"})
    await full(registries(prewarm={"mine": 1}))


async def test_only_kernels_of_ipython_are_kept(registries: Registries, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    registry = registries(prewarm={NOT_IPYTHON: 1, "no_such_kernelspec": 1})
    await _logged(
        caplog, f"{NOT_IPYTHON} kernels cannot be prewarmed: only IPython kernels on this machine can be moved"
    )
    await _logged(caplog, "prewarm: No such kernel: no_such_kernelspec")
    await registry.start(NOT_IPYTHON)


async def _logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    await until(lambda: text in caplog.text)


# --- what goes wrong ------------------------------------------------------------------------------


async def test_one_that_died_is_not_handed_over(registries: Registries, caplog: pytest.LogCaptureFixture) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    os.kill(ready, signal.SIGKILL)
    await full(registry, 0)
    assert await evaluate(await registry.start(), "6 * 7") == 42
    await full(registry)  # kernels start: there is a reason to try again


async def test_one_that_does_not_answer_is_replaced(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    os.kill(ready, signal.SIGSTOP)
    assert await evaluate(await registry.start(), "6 * 7") == 42
    await gone(ready)


class _Seeding(StartPolicy):
    def __init__(self, code: str) -> None:
        self._seed = Seed("seed.ipynb", "", ((0, code),), {})

    async def prepare(self, kernel_name: str, client: KernelClient) -> None:
        await self._seed.run(client, _always, 30)


async def _always(code: str) -> bool:
    return True


@pytest.mark.parametrize("end", ["1 / 0", "import os; os._exit(1)"])
async def test_a_seed_that_fails_is_run_once(registries: Registries, tmp_path: Path, end: str) -> None:
    runs = tmp_path / "runs"
    registry = registries(_Seeding(f"with open({str(runs)!r}, 'a') as file: file.write('x')\n{end}"))
    await full(registry)
    with pytest.raises(KernelStartFailed):
        await registry.start()
    assert runs.read_text() == "x"


async def test_a_kernelspec_that_fails_is_tried_again_once_one_has_started(
    registries: Registries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    works = tmp_path / "works"
    code = f"import os, sys; os.path.exists({str(works)!r}) or sys.exit('no licence')"
    add_kernelspec(
        tmp_path / "share",
        "licensed",
        {
            "argv": [
                sys.executable,
                "-c",
                f"{code}; import runpy; runpy.run_module('ipykernel_launcher', run_name='__main__')",
                "-f",
                "{connection_file}",
            ],
            "display_name": "Licensed",
            "language": "python",
        },
    )
    registry = registries(prewarm={"licensed": 1})
    await _logged(caplog, "licensed kernels are not prewarmed until one has been started: ")
    assert "no licence" in caplog.text
    works.touch()
    await registry.start("licensed")
    await full(registry)


async def test_one_whose_connection_file_cannot_be_moved_is_ended(registries: Registries, tmp_path: Path) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    in_the_way = tmp_path / "runtime" / "kernel-f0f0f0f0-0000-4000-8000-000000000002.json"
    in_the_way.mkdir()
    with pytest.raises(KernelStartFailed):
        await registry.start(kernel_id="f0f0f0f0-0000-4000-8000-000000000002")
    await gone(ready)
    in_the_way.rmdir()


async def test_who_hangs_up_while_one_is_handed_over_leaves_nothing(registries: Registries) -> None:
    registry = registries()
    await full(registry)
    [ready] = children()
    os.kill(ready, signal.SIGSTOP)
    starting = asyncio.create_task(registry.start())
    await until(lambda: not registry.prewarmed.ready)
    [kernel] = registry.list()
    await registry.shutdown(kernel.id)
    with pytest.raises(Exception, match="shut down"):
        await starting
    await gone(ready)


async def test_a_stop_ends_one_that_is_on_its_way(registries: Registries) -> None:
    registry = registries()
    await until(children)
    await registry.stop()
    assert not children()


async def test_nobody_else_may_read_the_connection_files(registries: Registries, tmp_path: Path) -> None:
    registries(connection_dir=str(tmp_path / "runtime" / "new"))
    await until(children)
    assert stat.S_IMODE((tmp_path / "runtime" / "new").stat().st_mode) == 0o700


async def test_the_end_waits_for_one_that_is_given_back_meanwhile(registries: Registries) -> None:
    registry = registries(prewarm=2, shutdown_wait_time_s=0.5)
    await full(registry, 2)
    for number in children():
        os.kill(number, signal.SIGSTOP)
    starting = asyncio.create_task(registry.start())
    await full(registry, 1)  # the other one is asked to move, and does not answer
    closing = asyncio.create_task(registry.prewarmed.close())
    await full(registry, 0)
    await registry.shutdown(registry.list()[0].id)
    await closing
    assert not children()
    with pytest.raises(Conflict):
        await starting


# --- how many -------------------------------------------------------------------------------------


async def test_they_make_room_when_no_more_kernels_may_be(registries: Registries) -> None:
    registry = registries(max_kernels=2, prewarm=2)
    await full(registry, 2)
    [kept, ended] = sorted(children())
    first = await registry.start(NOT_IPYTHON)
    await full(registry, 1)
    second = await registry.start()
    assert pid(second) in (kept, ended)
    with pytest.raises(LimitReached):
        await registry.start()
    await until(lambda: children() == {pid(second)})
    await registry.shutdown(first.id)
    await full(registry, 1)


async def test_one_that_made_room_at_its_launch_is_launched_again(registries: Registries) -> None:
    registry = registries(max_kernels=1)
    await until(children)
    await registry.shutdown((await registry.start(NOT_IPYTHON)).id)
    await full(registry)


class _Waiting(StartPolicy):
    """Has the launch of a kernel for the pool wait until it may go on. asked: how often it was, for a name."""

    def __init__(self) -> None:
        self.launching, self.may_go_on = threading.Event(), threading.Event()
        self.asked = 0

    def kernel_name(self, requested: str | None) -> str | None:
        self.asked += 1
        return requested

    def working_directory(self, root: Path, path: str, environ: Mapping[str, str]) -> Path:
        if not path:
            self.launching.set()
            self.may_go_on.wait(60)
        return super().working_directory(root, path, environ)


async def test_none_is_launched_for_which_there_is_no_room_any_more(registries: Registries) -> None:
    policy = _Waiting()
    registry = registries(policy, max_kernels=1)
    await asyncio.to_thread(policy.launching.wait, 60)
    await registry.start(NOT_IPYTHON, path="below")
    asked = policy.asked
    policy.may_go_on.set()
    await until(lambda: policy.asked > asked)
    assert not children()


async def test_as_many_as_wanted_of_each_kernelspec(registries: Registries) -> None:
    registry = registries(prewarm={"PYTHON3": 2})
    await full(registry, 2)
    assert len(children()) == 2


@pytest.mark.parametrize("value", [-1, {"python3": -1}, "many", {"python3": "many"}])
def test_a_wrong_number_is_named(value: Any) -> None:
    with pytest.raises(InvalidConfiguration, match=r"kernels\.prewarm"):
        KernelsConfig.parse({"prewarm": value})


async def test_a_chosen_id_replaces_no_connection_file(registries: Registries, tmp_path: Path) -> None:
    registry = registries(prewarm=1)
    await full(registry)
    pooled = children()
    other = tmp_path / "runtime" / "kernel-an-id.json"
    other.write_text('{"key": "theirs"}')
    kernel = await registry.start("python3", kernel_id="an-id")
    assert pid(kernel) in pooled
    told = await evaluate(kernel, "get_ipython().kernel.parent.connection_file")
    assert told in map(str, (tmp_path / "runtime").glob("kernel-an-id-*.json"))
    await registry.shutdown(kernel.id)
    assert other.read_text() == '{"key": "theirs"}'
    other.unlink()


async def test_a_folder_that_was_opened_meanwhile_gets_no_more_keys(registries: Registries, tmp_path: Path) -> None:
    registry = registries(prewarm=0)
    await registry.start(NOT_IPYTHON)
    (tmp_path / "runtime").chmod(0o777)
    with pytest.raises(KernelStartFailed, match="no longer private") as caught:
        await registry.start(NOT_IPYTHON)
    assert str(tmp_path) not in caught.value.message
