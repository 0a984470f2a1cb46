"""Jupyter's runtime folder, in which the connection files of the gateway's kernels are."""

from __future__ import annotations

from ..support.gateways import Begin, warnings


def test_one_that_others_can_write_to_is_warned_of(begin: Begin) -> None:
    gateway = begin()
    assert "runtime folder" not in gateway.log
    gateway.stop()
    gateway.runtime.mkdir(exist_ok=True)
    gateway.runtime.chmod(0o777)
    again = begin(env={"JUPYTER_RUNTIME_DIR": str(gateway.runtime)})
    [line] = [line for line in again.log.splitlines() if "runtime folder" in line]
    assert warnings(line) == [line]
    assert f"{gateway.runtime}, can be written to by others (mode 0777)" in line
