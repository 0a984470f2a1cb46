"""Whole messages from a ZMQ socket, with as few questions as possible.

libzmq gives a message frame by frame, and has to be asked after each whether it was the last one. The question costs
three times what a frame does, and the form of a message answers most of them: a topic on iopub, the delimiter, the
signature and four parts. Only what follows is a matter of asking: buffers, or the next message. A message that is too
short has taken frames of the next one then, which is put right by the delimiter in the midst of it.
"""

from __future__ import annotations

from typing import cast

import zmq

from .header import DELIMITER

LARGE_FRAME_BYTES = 65_536
"""From this size on, a frame is handed to libzmq, and a buffer taken from it, without being copied."""
MAX_TOPICS = 1_000
"""Topics that a reader knows; the others cost a question more."""
MAX_TOPIC_BYTES = 256
"""The longest of them."""

# Plain numbers, because combining enumerations took a third of the time of a send.
_NOBLOCK = int(zmq.NOBLOCK)
_RCVMORE = int(zmq.RCVMORE)


class SocketReader:
    """Reads the messages of one socket.

    topics: whether its messages begin with a topic, as those of a SUB socket.
    """

    def __init__(self, socket: zmq.Socket[bytes], *, topics: bool) -> None:
        self._socket = socket
        self._before = int(topics)  # frames before the delimiter
        self._topics: set[bytes] = set()

    def read(self, batch: list[list[bytes]]) -> bool:
        """Add the next message to a batch, as its frames; large buffers are views.

        Returns whether there was one. Whatever is malformed is added, too, each as a message of its own, in order.
        """
        recv = self._socket.recv
        try:
            frame = recv(_NOBLOCK)
        except zmq.Again:
            return False
        frames = [frame]
        add = frames.append
        known = frame == DELIMITER or frame in self._topics
        try:
            if not known:
                if not self._more():
                    batch.append(frames)
                    return True
                self._learn(frame)
            if frame != DELIMITER:
                frame = recv(_NOBLOCK)
                add(frame)
                while frame != DELIMITER:
                    if not self._more():
                        batch.append(frames)
                        return True
                    frame = recv(_NOBLOCK)
                    add(frame)
            add(recv(_NOBLOCK))
            add(recv(_NOBLOCK))
            add(recv(_NOBLOCK))
            add(recv(_NOBLOCK))
            content = recv(_NOBLOCK, False)
            add(content.bytes)
        except zmq.Again:  # libzmq has all of a message or nothing, so this one has ended
            batch += apart(frames, self._before)
            return True
        if content.more:
            self._read_buffers(frames)
        elif frames.count(DELIMITER) == 1:
            batch.append(frames)
            return True
        batch += apart(frames, self._before)
        return True

    def _more(self) -> bool:
        """Whether the message goes on after the last frame."""
        return bool(self._socket.getsockopt(_RCVMORE))

    def _learn(self, topic: bytes) -> None:
        if self._before and len(self._topics) < MAX_TOPICS and len(topic) <= MAX_TOPIC_BYTES:
            self._topics.add(topic)

    def _read_buffers(self, frames: list[bytes]) -> None:
        more = True
        while more:
            frame = self._socket.recv(_NOBLOCK, False)
            more = frame.more
            # Only sent on, or copied by those who need bytes.
            large = len(frame) >= LARGE_FRAME_BYTES
            frames.append(cast(bytes, frame.buffer) if large else frame.bytes)


def apart(frames: list[bytes], before: int) -> list[list[bytes]]:
    """The messages that some frames are: several if all but the last are too short. Pure.

    before: how many frames a message has before its delimiter. A buffer may be the same as a delimiter, but nothing
    before the buffers may.
    """
    starts = [0]
    for number, frame in enumerate(frames):
        this = frames[starts[-1] : number] if frame == DELIMITER else []
        if DELIMITER in this and not _is_whole(this):
            starts.append(max(number - before, starts[-1] + 1))
    return [frames[start:end] for start, end in zip(starts, [*starts[1:], len(frames)], strict=True)]


def _is_whole(frames: list[bytes]) -> bool:
    """Whether a message has all its parts, so that what follows are buffers."""
    index = frames.index(DELIMITER)
    return len(frames) - index >= 6 and bytes(frames[index + 5][:1]) == b"{"
