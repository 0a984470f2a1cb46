"""Messages that go to a client together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from fps_kernels.websocket.frame_batch import Chunks, FrameBatch
from fps_kernels.websocket.frames import LARGE_BYTES, frame_header

from ..support.cases import for_each


def read(data: bytes) -> list[str | bytes]:
    """What a client takes from the wire."""
    client = ClientProtocol(parse_uri("ws://host"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    got: list[str | bytes] = []
    for frame in client.events_received():
        assert isinstance(frame, Frame)
        assert frame.fin
        got.append(bytes(frame.data).decode() if frame.opcode is Opcode.TEXT else bytes(frame.data))
    return got


texts = st.text().map(lambda text: (True, [text.encode()]))
sizes = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, LARGE_BYTES - 1, LARGE_BYTES])
pieces = st.lists(st.builds(lambda size, fill: fill * size, sizes, st.binary(min_size=1, max_size=1)), max_size=4)
messages = st.lists(st.one_of(texts, pieces.map(lambda many: (False, many))), max_size=6)


@given(messages)
def test_a_client_reads_the_frames_from_the_buffers(messages: list[Chunks]) -> None:
    run = FrameBatch(messages)
    assert read(b"".join(run.buffers())) == run.joined()
    assert len(run) == len(messages)


def test_a_large_piece_is_not_copied() -> None:
    large, small = bytes(LARGE_BYTES), b"small"
    buffers = FrameBatch([(False, [small, large, small]), (False, [small])]).buffers()
    assert buffers[1] is large
    assert len(buffers) == 3


def test_small_messages_are_one_buffer() -> None:
    assert len(FrameBatch([(False, [b"a", b"b"])] * 100).buffers()) == 1


@for_each(("size", "length"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 40, 10)])
def test_the_header_is_as_short_as_it_can_be(size: int, length: int) -> None:
    assert len(frame_header(False, size)) == length
