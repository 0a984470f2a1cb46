"""Runs of the log as WebSocket messages: encoded once for all that read the same."""

from __future__ import annotations

import json

import pytest

from fps_kernels.kernel_driver.message import Message, dump_json, make_frames
from fps_kernels.kernel_server.encoder import SHARED_MAX_BYTES, SHARED_RUNS, Encoder
from fps_kernels.kernel_server.iopub_log import Entry, IopubLog, ReplayLimits
from fps_kernels.kernel_server.spec_adapter import Adapter

from ..support import messages


def entries_of(*texts: str) -> list[Entry]:
    log = IopubLog(ReplayLimits())
    log.append([Message("iopub", make_frames("stream", {"name": "stdout", "text": text}, "k")) for text in texts], 0.0)
    return log.read(0, len(texts), 1 << 40)


def encoder_with(readers: int, *, v1: bool = True) -> Encoder:
    encoder = Encoder(v1=v1)
    for _ in range(readers):
        encoder.add_reader()
    return encoder


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
def test_a_run_is_read_by_a_client_of_its_protocol(v1: bool) -> None:
    entries = entries_of("1", "2")
    frames = encoder_with(1, v1=v1).encode_run(entries).frames()
    got = [
        messages.unpack_v1(bytes(frame, "ascii") if isinstance(frame, str) else frame)
        if v1
        else messages.unpack_default(frame)
        for frame in frames
    ]
    assert [message["channel"] for message in got] == ["iopub", "iopub"]
    assert [message["header"] for message in got] == [json.loads(entry.frames[0]) for entry in entries]
    assert [message["content"]["text"] for message in got] == ["1", "2"]


def test_a_run_that_several_read_is_encoded_once() -> None:
    encoder, entries = encoder_with(2), entries_of("1", "2")
    assert encoder.encode_run(entries) is encoder.encode_run(list(entries))


def test_a_run_of_a_single_reader_is_not_kept() -> None:
    encoder, entries = encoder_with(1), entries_of("1", "2")
    assert encoder.encode_run(entries) is not encoder.encode_run(entries)


def test_different_runs_from_one_place_are_told_apart() -> None:
    encoder, entries = encoder_with(2), entries_of("1", "2", "3")
    assert [len(encoder.encode_run(entries[:stop])) for stop in (1, 2, 3)] == [1, 2, 3]


def test_a_run_that_was_merged_meanwhile_is_another() -> None:
    encoder, (first, second) = encoder_with(2), entries_of("1", "2")
    merged = Entry(first.seq, 0.0, first.frames, False, count=2)
    assert len(encoder.encode_run([first, second])) == 2
    assert len(encoder.encode_run([merged])) == 1


def test_a_large_message_is_not_kept() -> None:
    encoder, entries = encoder_with(2), entries_of("x" * SHARED_MAX_BYTES)
    assert encoder.encode_run(entries) is not encoder.encode_run(entries)


def test_only_the_last_runs_are_kept() -> None:
    encoder, entries = encoder_with(2), entries_of(*map(str, range(SHARED_RUNS + 1)))
    runs = [encoder.encode_run([entry]) for entry in entries]
    assert encoder.encode_run(entries[-1:]) is runs[-1]
    assert encoder.encode_run(entries[1:2]) is runs[1]
    assert encoder.encode_run(entries[:1]) is not runs[0]


@pytest.mark.parametrize("forget", [Encoder.forget_runs, Encoder.remove_reader])
def test_what_is_not_read_again_is_forgotten(forget: object) -> None:
    assert callable(forget)
    encoder, entries = encoder_with(2), entries_of("1")
    run = encoder.encode_run(entries)
    forget(encoder)
    encoder.add_reader()
    assert encoder.encode_run(entries) is not run


def test_only_the_default_protocol_adapts_a_kernel_of_another_version() -> None:
    header = dump_json({"msg_id": "1", "msg_type": "pyout", "session": "k"})
    frames = [header, b"{}", b"{}", dump_json({"data": {"text/plain": "42"}})]
    seen = {}
    for v1 in (True, False):
        encoder = Encoder(v1=v1)
        encoder.adapter = Adapter(4)
        is_text, pieces = encoder.encode("iopub", frames)
        data = b"".join(pieces)
        message = messages.unpack_default(data.decode()) if is_text else messages.unpack_v1(data)
        seen[v1] = message["header"]["msg_type"]
    assert seen == {True: "pyout", False: "execute_result"}
