"""Gateways and keepers as units of systemd, as far as that can be had without systemd."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fps_kernels.kept.keeper_cgroup import control_group

from ..support.gateways import COMMAND, environment, warnings
from ..support.kept_gateways import KeptGateways

GROUPS = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
WARNING = "`systemctl restart` ends the kernels, too"


def test_a_unit_that_has_its_keeper_in_its_own_group_is_told(kept_gateways: KeptGateways) -> None:
    gateway = kept_gateways.begin(INVOCATION_ID="0123")
    group = control_group("self")
    expected = 0 if group.endswith(".scope") else 1
    assert [WARNING in line and f"({group})" in line for line in warnings(gateway.log)].count(True) == expected
    other = kept_gateways.begin()
    assert WARNING not in other.log
    status = kept_gateways.command("keeper", "status")
    assert f"pid {kept_gateways.keeper().pid}, control group {group}\n" in status


def test_without_kernels_that_are_kept_nothing_is_said(kept_gateways: KeptGateways) -> None:
    assert WARNING not in kept_gateways.begin(keep="never", INVOCATION_ID="0123").log


@contextlib.contextmanager
def own_group(pid: int) -> Iterator[None]:
    """Move a process to a control group of its own. Skips where that cannot be done."""
    name = f"fps-kernels-test-{os.getpid()}"
    for root in GROUPS:
        folder = root / name
        with contextlib.suppress(OSError):
            folder.mkdir()
            try:
                (folder / "cgroup.procs").write_text(str(pid))
                if control_group(pid).endswith(name):
                    yield
                    return
            finally:
                with contextlib.suppress(OSError):
                    (root / "cgroup.procs").write_text(str(pid))
                folder.rmdir()
    pytest.skip("control groups cannot be made here")


def test_a_unit_whose_keeper_is_in_another_group_is_not_told(kept_gateways: KeptGateways) -> None:
    kept_gateways.begin()
    with own_group(kept_gateways.keeper().pid):
        assert WARNING not in kept_gateways.begin(INVOCATION_ID="0123").log


def test_a_keeper_that_is_run_says_when_it_is_ready(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        command = [COMMAND, "keeper", "run", "--state-dir", str(state), "--idle-timeout-s", "0"]
        environ = environment(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        with subprocess.Popen(command, env=environ) as keeper:
            assert manager.recv(100) == b"READY=1"
            words = [COMMAND, "keeper", "status", "--state-dir", str(state)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert f"pid {keeper.pid}," in done.stdout
            keeper.terminate()
        assert keeper.returncode == 0
