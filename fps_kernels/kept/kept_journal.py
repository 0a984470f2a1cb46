"""What a server tells the keeper of the clients of one kernel, and what the next server makes of that."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from ..errors import FPSKernelsError, MalformedMessage, QueueFull
from ..kernel_driver.client import KernelClient
from ..kernel_driver.header import Buffer, load_object, peek_msg_id, peek_msg_type, peek_session
from ..kernel_driver.message import Message
from ..kernel_driver.request_log import Request
from ..kernel_server.client_session import ClientSession, SessionKey
from ..kernel_server.inbox import Inbox
from ..kernel_server.journal import Journal
from .cursor_file import Cursor, CursorFile
from .kept_channels import RecordListener
from .kept_notes import KeptNotes, needed_in
from .kept_places import KeptPlaces, NumberedFrames, Place
from .kept_process import KeptProcess
from .kept_prompts import KeptPrompts

logger = logging.getLogger(__name__)

SEEN_EVERY = 500
"""How many messages pass before it is looked whether the keeper can forget some."""
MAX_SERVERS = 50
"""Servers of a kernel whose own requests are remembered."""


def start_number(summary: Mapping[str, Any], cursors: Mapping[str, Cursor]) -> int:
    """Where in the record of a kernel a server has to begin, for `KeptProcess.adopt`.

    summary: what the keeper says of the kernel. cursors: what all the files of dead servers say.
    """
    found = [cursor.seq for key, cursor in cursors.items() if _parse(key, summary["kernel"]) is not None]
    if (needed := needed_in(summary)) is not None:
        found.append(needed)
    return min(found, default=int(summary["next_seq"]))


# Large: what one server writes down and the next one reads stand side by side.
class KeptJournal(RecordListener):
    """A journal of which the next server can make the same again, after this one was killed.

    client, journal, prompts: those of the kernel's server.
    cursors: the file of this server.

    notes: what is noted about the kernel besides.
    on_new_keeper: called when another keeper has taken the place of the one that was lost.
    on_replayed: called once, when `replaying` is over.

    How to use it, in this order. A process that this server launches: `watch(process)` before it is connected to, as
    `KeptLauncher.on_process` does. One of an earlier server: `start_number`, `KeptProcess.adopt`, `restore`, `watch`,
    and then the driver's start. When all kernels were restored, the files of dead servers may be removed. At the end of
    a kernel: `close`.
    """

    def __init__(self, client: KernelClient, journal: Journal, prompts: KeptPrompts, cursors: CursorFile) -> None:
        self.places = KeptPlaces(journal)
        self._client = client
        self._journal = journal
        self._prompts = prompts
        self._cursors = cursors
        self._slots: dict[tuple[str | int, ...], int] = {}
        self._asked: dict[SessionKey, int] = {}  # the number of what each session was asked, and may yet answer
        self._process: KeptProcess | None = None
        self._arrived: list[list[bytes]] = []
        self._sessions: list[str] = []  # of earlier servers' own requests
        self._look_at = SEEN_EVERY
        self._told = 0
        self.notes = KeptNotes(lambda: self.position, lambda: self.replaying)
        self.on_new_keeper: Callable[[], None] = lambda: None
        self.on_replayed: Callable[[], None] | None = None

    @property
    def active(self) -> bool:
        """Whether the process that runs is one that is kept."""
        return self._process is not None and self._process.listener is self

    @property
    def replaying(self) -> bool:
        """Whether there is more to come of what an earlier server has heard and done."""
        return self.active and self.position < self.places.replay_end

    # --- for who makes kernels -------------------------------------------------------------------

    def restore(self, summary: Mapping[str, Any], cursors: Mapping[str, Cursor]) -> None:
        """Remember the sessions of earlier servers, before the kernel is connected to.

        summary: what the keeper says of the kernel. cursors: what all the files of dead servers say.
        """
        self._sessions = [str(one) for one in summary["facts"].get("sessions", ())]
        self.notes.restore(summary)
        self.places.replay_end = int(summary["next_seq"])
        left: dict[str, int] = {}
        there: dict[str, int] = {}
        for key, cursor in cursors.items():
            match _parse(key, self._client.kernel_id):
                case (str(user), str(session_id)):
                    self.places.restore((user, session_id), cursor, monotonic())
                    self._set((user, session_id), cursor)
                    there[user] = max(there.get(user, 0), cursor.seq)
                case (str(user), str(session_id), 1):
                    self.on_asked((user, session_id), cursor.seq)
                case (str(user),):
                    left[user] = cursor.seq
        for user, seq in {**there, **left}.items():  # of those that were connected, the crash was the end
            self.places.restore_left(user, seq)
            self._set((user,), Cursor(seq, 0))

    def watch(self, process: KeptProcess) -> None:
        """Be told of the record of a process, before it is connected to."""
        process.listener = self
        self._process = process
        if process.from_seq is not None:
            self.position = process.from_seq
        sessions = [*self._sessions, self._client.session][-MAX_SERVERS:]
        name = {"kernel": process.kernel_id, "generation": process.generation}
        process.keeper.tell("facts", facts={"sessions": sessions}, **name)
        self.notes.watch(process)

    def close(self) -> None:
        """Forget where the clients are: the kernel has ended for good."""
        for key in list(self._slots):
            self._unset(key)

    # --- from the keeper -------------------------------------------------------------------------

    def on_messages(self, channel: str, messages: list[list[bytes]]) -> list[list[bytes]]:
        self._arrived = messages
        self.places.end = self.position
        if self._sessions:  # answers to an earlier server's own requests
            own = [session.encode() for session in self._sessions]
            messages = [one for one in messages if not any(mine in frame for frame in one[:6] for mine in own)]
        if self.position >= self._look_at:
            self.look()
        return messages

    def numbers_of(self, messages: Sequence[Message]) -> Sequence[int]:
        """The numbers in the record of messages of those that have arrived last."""
        first, arrived = self.position, self._arrived
        if len(messages) == len(arrived):
            return range(first, first + len(arrived))
        # Some were dropped. A frame that was not repaired is the same object as before.
        numbers = []
        index = 0
        for message in messages:
            frames = {id(frame) for frame in message.frames}
            while index < len(arrived) - 1 and frames.isdisjoint(map(id, arrived[index])):
                index += 1
            numbers.append(first + index)
            index += 1
        return numbers

    def describe(self, channel: str, frames: Sequence[Buffer]) -> bytes:
        if channel == "stdin":
            return b""
        header = bytes(frames[0])
        request = self._client.requests.get(peek_msg_id(header))
        if request is None or not isinstance(request.origin, ClientSession):
            return b""
        process = self._process
        note: dict[str, Any] = {"of": request.origin.key, "to": process.generation if process is not None else 0}
        if request.header != header:
            note["header"] = request.header.decode("latin-1")
        return _dump(note)

    def on_sent(self, channel: str, note: bytes, header: bytes, parent_header: bytes) -> None:
        try:
            if channel == "stdin":
                self._prompts.answer_of(peek_session(header))
            elif not note:
                self.notes.on_sent(peek_msg_id(header))
            else:
                self._restore_request(channel, json.loads(note), header)
        except (MalformedMessage, QueueFull, ValueError, LookupError, TypeError) as exc:
            logger.warning("kernel %s: a request of an earlier server is not known: %s", self._client.kernel_id, exc)

    def _restore_request(self, channel: str, note: dict[str, Any], header: bytes) -> None:
        if self._process is None or note["to"] != self._process.generation:
            return  # to a process that is gone: a later one has another key, so that its answers cannot be verified
        msg_id = peek_msg_id(header)
        written = note["header"].encode("latin-1") if "header" in note else header
        user, session_id = note["of"]
        session = self._journal.find((user, session_id))
        if session is None:  # it is remembered no longer; nobody else may be given the answer
            session = ClientSession((user, session_id), Inbox(self._journal.log.limits), 0, monotonic())
        request = Request(msg_id, channel, peek_msg_type(header), written, session)
        if written is not header:
            chosen = load_object(written, "header").get("msg_id")
            if chosen != msg_id:
                request.rename(chosen, msg_id)
                if isinstance(chosen, str):
                    session.rename(chosen, msg_id)
                else:
                    session.restore(msg_id, chosen)
        self._client.requests.add(request)

    def on_mark(self, note: bytes) -> None:
        try:
            mark = json.loads(note)
            if mark["by"] == self._client.session:
                return
            match mark["what"]:
                case "restart":
                    self._journal.restart()
                case "failed":
                    self._client.requests.clear()
                    self._journal.discard_input_requests()
                    self._prompts.clear()
                case "put":
                    self._put_again(mark)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            logger.warning("kernel %s: a mark of an earlier server is not known: %s", self._client.kernel_id, exc)

    def _put_again(self, mark: dict[str, Any]) -> None:
        user, session_id = mark["of"]
        session = self._journal.find((user, session_id))
        place = self.places.get(session) if session is not None else None
        if session is None or place is None:
            return
        made = int(mark["made"])
        if made > place.taken:
            frames = [frame.encode("latin-1") for frame in mark["frames"]]
            self._journal.put(session, str(mark["channel"]), NumberedFrames(frames, made=made))
        place.made = max(place.made, made)

    def on_gap(self, messages: int | None) -> None:
        if messages is None:
            self.notes.tell_all()
            self.on_new_keeper()
            return
        log = self._journal.log
        if messages and not len(log):
            log.next_seq += messages
            log.first_seq = log.next_seq

    def on_full(self) -> None:
        self.look()

    def on_told(self) -> None:
        if self.on_replayed is not None and not self.replaying:
            on_replayed, self.on_replayed = self.on_replayed, None
            on_replayed()

    # --- from the kernel's server ----------------------------------------------------------------

    def mark(self, what: str, **more: Any) -> None:
        """Leave a mark for the next server."""
        channels = self._process.channels if self._process is not None else None
        if channels is not None:
            with contextlib.suppress(FPSKernelsError):  # the keeper is lost, or reads nothing
                channels.mark(_dump({"by": self._client.session, "what": what, **more}))

    def number_made(self, session: ClientSession, channel: str, frames: Sequence[bytes]) -> Sequence[bytes]:
        """A message of the server's own, in the form in which it is put into the inbox of a session."""
        place = self.places.get(session)
        if place is None:
            return frames
        place.made += 1
        texts = [bytes(frame).decode("latin-1") for frame in frames]
        self.mark("put", of=session.key, made=place.made, channel=channel, frames=texts)
        return NumberedFrames(frames, made=place.made)

    def on_attached(self, session: ClientSession) -> Place:
        """A session has come; returns its place."""
        self.places.end = self.position
        place = self.places.add(session)
        if session.key not in self._slots:
            self._set(session.key, place.safe)
        self._unset((session.user,))
        for key in self.places.forget():
            self._unset(key)
        return place

    def on_detached(self, session: ClientSession) -> None:
        """A session has left."""
        place = self.places.get(session)
        if place is not None:
            self.on_safe(session.key, place)
            if session.user in self._journal.left_at:
                self._set((session.user,), Cursor(place.safe.seq, 0))

    def on_safe(self, key: SessionKey, place: Place) -> None:
        """A session has come further."""
        slot = self._slots.get(key)
        if slot is not None:
            self._cursors.move(slot, place.safe)

    def on_asked(self, key: SessionKey, number: int) -> None:
        """A session was asked for input: the next server must know that, too."""
        if key not in self._asked:
            self._asked[key] = number
            self._set((*key, 1), Cursor(number, 0))

    def look(self) -> None:
        """Tell the keeper what it can forget."""
        self._look_at = self.position + SEEN_EVERY
        process = self._process
        if process is None or self.position < self.places.replay_end:
            return
        for key in [key for key in self._asked if not self._prompts.waits_for(key)]:
            del self._asked[key]
            self._unset((*key, 1))
        needed = [] if self.notes.needed is None else [self.notes.needed]
        first = min([self.places.first_needed(), *self._asked.values(), *needed])
        if first > self._told:
            self._told = first
            process.keeper.tell("seen", kernel=process.kernel_id, seq=first)

    def _set(self, key: tuple[str | int, ...], cursor: Cursor) -> None:
        slot = self._slots.get(key)
        if slot is not None:
            self._cursors.move(slot, cursor)
            return
        slot = self._cursors.add(json.dumps([self._client.kernel_id, *key], separators=(",", ":")), cursor)
        if slot is not None:
            self._slots[key] = slot

    def _unset(self, key: tuple[str | int, ...]) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._cursors.remove(slot)


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def kernel_of(key: str) -> str | None:
    """The kernel that a key in the file of cursors is about."""
    try:
        found = json.loads(key)
    except ValueError:
        return None
    return found[0] if isinstance(found, list) and found and isinstance(found[0], str) else None


def _parse(key: str, kernel_id: str) -> tuple[Any, ...] | None:
    """What a key in the file of cursors is about, if it is about this kernel."""
    return tuple(json.loads(key)[1:]) or None if kernel_of(key) == kernel_id else None
