"""Messages that the server makes in a kernel's place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fps_kernels.errors import Forbidden, FPSKernelsError, KernelDied, KernelRestarted, QueueFull
from fps_kernels.kernel_driver.state import ExecutionState, wire_state
from fps_kernels.kernel_server.stand_in import error_reply, status

from ..support.cases import for_each

PARENT = b'{"msg_id":"p",  "session":"client"}'


def loaded(frames: list[bytes]) -> list[Any]:
    return [json.loads(frame) for frame in frames]


@for_each(
    ("state", "shown"),
    [
        ("starting", "starting"),
        ("idle", "idle"),
        ("busy", "busy"),
        ("restarting", "starting"),  # JupyterLab would open a new socket, and hear it again there
        ("terminating", "dead"),  # which no client knows
        ("dead", "dead"),
    ],
)
def test_the_state_that_a_client_is_told(state: str, shown: str) -> None:
    assert wire_state(state) == shown


def test_every_state_can_be_told() -> None:
    assert {wire_state(state.value) for state in ExecutionState} == {"starting", "idle", "busy", "dead"}


def test_status_is_one_of_the_kernel_without_a_parent() -> None:
    header, parent, metadata, content = loaded(status("busy", "kernel"))
    assert header["msg_type"] == "status"
    assert header["session"] == "kernel"
    assert (parent, metadata, content) == ({}, {}, {"execution_state": "busy"})


def test_status_of_a_kernel_that_is_being_stopped_says_dead() -> None:
    assert json.loads(status("terminating", "kernel")[3]) == {"execution_state": "dead"}


def test_status_with_reason() -> None:
    assert json.loads(status("dead", "kernel", reason="why")[3]) == {"execution_state": "dead", "reason": "why"}


def test_the_parent_header_passes_byte_for_byte() -> None:
    assert status("idle", "kernel", PARENT)[1] == PARENT
    assert error_reply("execute_request", PARENT, "kernel", KernelDied("x"))[1] == PARENT


def test_a_request_that_a_restart_cut_off_is_aborted() -> None:
    header, _, _, content = loaded(error_reply("execute_request", PARENT, "kernel", KernelRestarted("x")))
    assert header["msg_type"] == "execute_reply"
    assert header["session"] == "kernel"
    assert content == {"status": "aborted", "execution_count": None, "user_expressions": {}, "payload": []}


def test_a_request_of_a_dead_kernel_fails_with_its_reason() -> None:
    content = json.loads(error_reply("execute_request", PARENT, "kernel", KernelDied("out of memory"))[3])
    assert content["status"] == "error"
    assert content["ename"] == "DeadKernelError"
    assert content["evalue"] == "out of memory"
    assert content["traceback"] == []
    assert content["execution_count"] is None


@pytest.mark.parametrize("error", [Forbidden("no"), QueueFull("no")])
def test_other_errors_are_named_by_their_class(error: FPSKernelsError) -> None:
    content = json.loads(error_reply("complete_request", PARENT, "kernel", error)[3])
    assert content == {"status": "error", "ename": type(error).__name__, "evalue": "no", "traceback": []}


def test_only_replies_to_execution_have_the_fields_of_execution() -> None:
    header, _, _, content = loaded(error_reply("kernel_info_request", PARENT, "kernel", KernelRestarted("x")))
    assert header["msg_type"] == "kernel_info_reply"
    assert content == {"status": "aborted"}


@pytest.mark.parametrize("frames", [status("idle", "k"), error_reply("execute_request", PARENT, "k", KernelDied("x"))])
def test_every_field_of_the_header_is_a_string(frames: list[bytes]) -> None:
    header = json.loads(frames[0])
    assert {"username", "version", "session", "msg_id", "msg_type", "date"} == header.keys()
    assert all(isinstance(value, str) for value in header.values())
