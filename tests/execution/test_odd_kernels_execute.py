"""Cells that the server runs on kernels whose messages have an odd form."""

from __future__ import annotations

from datetime import datetime

import pytest

from ..support.documents import Desk
from ..support.outputs import stream

DATED = """
import hashlib, hmac, json
pack = kernel.pack
def packed(*arguments, **keywords):
    frames = pack(*arguments, **keywords)
    header = json.loads(frames[2]) | {"date": DATE}
    frames[2] = json.dumps(header).encode()
    frames[1] = hmac.new(kernel.key, b"".join(frames[2:6]), hashlib.sha256).hexdigest().encode()
    return frames
kernel.pack = packed
"""


@pytest.mark.parametrize("mode", ["no_parents", "bare_parents", "bare_headers"])
async def test_a_cell_runs_on_a_kernel_with_odd_habits(desk: Desk, mode: str) -> None:
    kernel_id = await desk.client.start(f"tiny_{mode}")
    doc = await desk.open(a="stream('a')", b="stream('b')", kernel=kernel_id)
    await doc.run("a", "b")
    assert (doc.outputs("a"), doc.outputs("b")) == ([stream("a")], [stream("b")])


async def test_what_a_thread_says_of_no_cell_is_in_none(desk: Desk) -> None:
    """The kernel names the cell as the cause of its outputs, so what has no cause is not the cell's."""
    other = "kernel.publish('stream', {'name': 'stderr', 'text': 'No such comm'}, parent={})"
    doc = await desk.open(a=f"stream('before ')\n{other}\nstream('after')")
    await doc.run("a")
    assert doc.outputs("a") == [stream("before after")]


async def test_what_was_said_before_the_kernel_came_to_a_cell_is_not_in_it(desk: Desk) -> None:
    """As the warnings of a program that starts, which come when the first cell was sent already."""
    first = """
plain = kernel.publish
def published(msg_type, content, *arguments, **keywords):
    if content.get("execution_state") == "busy":
        plain("stream", {"name": "stderr", "text": "Debugger warning"}, parent={})
    plain(msg_type, content, *arguments, **keywords)
kernel.publish = published
"""
    doc = await desk.open(a=first, b="stream('b')")
    await doc.run("a", "b")
    assert doc.outputs("b") == [stream("b")]


@pytest.mark.parametrize("date", ["None", "1700000000", "'yesterday'", "'2026-06-06T17:21+0000x'"])
async def test_timing_has_dates_whatever_the_kernel_writes(desk: Desk, date: str) -> None:
    doc = await desk.open(a=f"DATE = {date}\n{DATED}", b="stream('b')")
    await doc.run("a", "b")
    timing = doc.cell("b")["metadata"]["execution"]
    assert {"iopub.status.busy", "shell.execute_reply"} <= set(timing)
    for when in timing.values():
        assert datetime.fromisoformat(when)


@pytest.mark.parametrize("output", ["b'[]'", "b'nonsense'", r"b'\xff\xfe'"])
async def test_what_nobody_can_read_harms_no_cell(desk: Desk, output: str) -> None:
    code = "import hashlib, hmac\nframes = kernel.pack('stream', {}, request['header'])\n"
    code += f"frames[5] = {output}\n"
    code += "frames[1] = hmac.new(kernel.key, b''.join(frames[2:]), hashlib.sha256).hexdigest().encode()\n"
    doc = await desk.open(a=f"stream('before ')\n{code}raw('iopub', frames)\nstream('after')", b="stream('b')")
    await doc.run("a", "b")
    assert (doc.outputs("a"), doc.outputs("b")) == ([stream("before after")], [stream("b")])
