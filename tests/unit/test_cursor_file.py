"""Cursors in a file: what a server has written is there after its death, and nobody reads those of one that lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fps_kernels.kept.cursor_file import KEY_BYTES, SLOTS, Cursor, CursorFile, dead_files, read_cursors

from ..support.examples import examples

NUMBERS = st.integers(0, 2**64 - 1)


class Clients(RuleBasedStateMachine):
    """Clients that come, hear and leave."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.file = CursorFile(Path(self.folder.name), slots=4)
        self.slots: dict[str, int] = {}
        self.expected: dict[str, Cursor] = {}

    @rule(key=st.text(min_size=1, max_size=40), seq=NUMBERS, taken=NUMBERS)
    def come(self, key: str, seq: int, taken: int) -> None:
        if key not in self.slots:
            slot = self.file.add(key, Cursor(seq, taken))
            assert (slot is None) is (len(self.slots) == 4)
            if slot is not None:
                self.slots[key], self.expected[key] = slot, Cursor(seq, taken)

    @rule(data=st.data(), seq=NUMBERS, taken=NUMBERS)
    def hear(self, data: st.DataObject, seq: int, taken: int) -> None:
        if self.slots:
            key = data.draw(st.sampled_from(sorted(self.slots)))
            self.file.move(self.slots[key], Cursor(seq, taken))
            self.expected[key] = Cursor(seq, taken)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.slots:
            key = data.draw(st.sampled_from(sorted(self.slots)))
            self.file.remove(self.slots.pop(key))
            del self.expected[key]

    @invariant()
    def all_is_in_the_file(self) -> None:
        if hasattr(self, "file"):
            assert read_cursors(self.file.path) == self.expected

    def teardown(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
            self.folder.cleanup()


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=examples(50), deadline=None)


def test_what_a_killed_server_has_written_is_found(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from fps_kernels.kept.cursor_file import *\n"
        "file = CursorFile(pathlib.Path(sys.argv[1]))\n"
        "slot = file.add('kernel session', Cursor(0, 0))\n"
        "for n in range(1, 1000): file.move(slot, Cursor(n, n // 10))\n"
        "print('done', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=pipe, stdout=pipe) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"done\n"
        assert dead_files(tmp_path) == []
        server.send_signal(signal.SIGKILL)
    (path,) = dead_files(tmp_path)
    assert read_cursors(path) == {"kernel session": Cursor(999, 99)}


def test_a_file_goes_with_its_server_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    CursorFile(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    kept = CursorFile(tmp_path)
    kept.add("key", Cursor(1, 2))
    kept.close(keep=True)
    kept.close()
    assert dead_files(tmp_path) == [kept.path]
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_too_long_has_no_place(tmp_path: Path) -> None:
    file = CursorFile(tmp_path)
    assert file.add("x" * (KEY_BYTES + 1), Cursor(0, 0)) is None
    assert file.add("", Cursor(0, 0)) is None
    assert file.add("x" * KEY_BYTES, Cursor(1, 2)) is not None
    assert read_cursors(file.path) == {"x" * KEY_BYTES: Cursor(1, 2)}
    file.close()


@given(st.binary(max_size=2000))
def test_a_file_of_garbage_says_nothing_or_what_can_be_read(garbage: bytes) -> None:
    path = Path(f"/tmp/fps-kernels-cursors-{os.getpid()}")
    try:
        path.write_bytes(garbage)
        assert read_cursors(path) == {}
        path.write_bytes(b"fps-kernels cursors 1\n" + garbage)
        assert len(read_cursors(path)) <= SLOTS
    finally:
        path.unlink()
