"""What a client sends, cut anywhere, read as the state machine of websockets reads it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from fps_kernels.websocket.frames import FrameReader, Payload, Whole

from ..support.examples import examples

MAX_BYTES = 1000

small = st.binary(max_size=20)
payloads = st.one_of(
    small,
    st.builds(
        lambda size, fill: fill * size,
        st.sampled_from([125, 126, 127, 999, 1000, 1001, 70_000]),
        st.binary(min_size=1, max_size=1),
    ),
)
data_frames = st.builds(
    Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]), payloads, st.sampled_from([True, True, False])
)
control_frames = st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), small)
closes = st.just(Frame(Opcode.CLOSE, b"\x03\xe8bye"))
odd_frames = st.builds(
    Frame, st.sampled_from([Opcode.BINARY, Opcode.PING]), small, st.booleans(), st.booleans(), st.booleans()
)
frames = st.one_of(data_frames, data_frames, control_frames, odd_frames, closes)


def serialize(frame: Frame, masked: bool = True) -> bytes:
    frame.check = lambda: None  # type: ignore[method-assign]  # a client need not keep the rules
    return frame.serialize(mask=masked)


streams = st.lists(
    st.one_of(
        frames.map(serialize),
        frames.map(serialize),
        st.just(serialize(Frame(Opcode.BINARY, b"x"), False)),
        st.binary(max_size=6),
    ),
    max_size=8,
).map(b"".join)


def machine() -> ServerProtocol:
    return ServerProtocol(state=OPEN, max_size=MAX_BYTES)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({*(cut % (len(data) + 1) for cut in cuts), len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def events(protocol: ServerProtocol) -> list[tuple[Opcode, bytes, bool]]:
    found = protocol.events_received()
    return [(event.opcode, bytes(event.data), event.fin) for event in found if isinstance(event, Frame)]


def read(data: list[bytes]) -> tuple[list[tuple[Opcode, bytes, bool]], ServerProtocol]:
    """As BatchingProtocol does it: what is no whole message goes to the state machine."""
    reader, protocol = FrameReader(MAX_BYTES), machine()
    got: list[tuple[Opcode, bytes, bool]] = []
    for chunk in data:
        reader.feed(chunk)
        while (event := reader.read()) is not None:
            if protocol.parser_exc is not None or protocol.close_rcvd is not None:
                return got, protocol
            if isinstance(event, Whole):
                got.append((Opcode.TEXT if event.is_text else Opcode.BINARY, bytes(event.data), True))
            else:
                protocol.receive_data(event)
                got += events(protocol)
    return got, protocol


@settings(max_examples=examples(1000))
@given(streams, st.lists(st.integers(min_value=0), max_size=6))
def test_it_reads_what_the_state_machine_reads(data: bytes, cuts: list[int]) -> None:
    expected = machine()
    expected.receive_data(data)
    got, protocol = read(chunks(data, cuts))
    assert got == events(expected)
    assert (protocol.parser_exc is None) == (expected.parser_exc is None)
    assert protocol.close_rcvd == expected.close_rcvd
    assert protocol.close_sent == expected.close_sent


@given(payloads.filter(lambda data: len(data) <= MAX_BYTES), st.lists(st.integers(min_value=0), max_size=20))
def test_a_message_in_pieces_is_unmasked(payload: bytes, cuts: list[int]) -> None:
    data = serialize(Frame(Opcode.BINARY, payload))
    got, _ = read(chunks(data, cuts))
    assert got == [(Opcode.BINARY, payload, True)]


def test_one_byte_at_a_time() -> None:
    stream = b"".join(
        map(serialize, [Frame(Opcode.TEXT, b"a" * 300), Frame(Opcode.PING, b"p"), Frame(Opcode.BINARY, b"")])
    )
    got, protocol = read([bytes([byte]) for byte in stream])
    assert got == [(Opcode.TEXT, b"a" * 300, True), (Opcode.PING, b"p", True), (Opcode.BINARY, b"", True)]
    assert protocol.data_to_send()  # the pong


def test_a_size_that_is_only_said_takes_no_memory() -> None:
    reader = FrameReader(None)
    reader.feed(b"\x82\xff" + (1 << 62).to_bytes(8) + b"mask" + b"xyz")
    assert reader.read() is None
    assert isinstance(reader._payload, Payload)
    assert len(reader._payload) == 3


def test_nothing_is_kept_of_a_message_that_is_too_large() -> None:
    reader = FrameReader(MAX_BYTES)
    data = serialize(Frame(Opcode.BINARY, bytes(MAX_BYTES + 1)))
    reader.feed(data)
    assert reader.read() == data
    assert reader.read() is None
