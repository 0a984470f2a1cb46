"""What a kernel said, kept for the clients that have yet to hear it. Pure: time is passed in, nothing is sent.

Theory of operation
===================

A journal belongs to one kernel and knows its clients as *sessions*, by their user and the session_id that a client
keeps over reconnections and restarts of the kernel. The session_id alone is no identity: a client chooses it, and all
others can read it in the parent headers on iopub. It does not know how they are connected: whoever owns the connections
attaches a session when its client is there to read, and detaches it afterwards. In between the session is *away*, and
the journal is what keeps its place.

What a kernel says is of two kinds, and so are the places where it waits.

The *log* (iopub_log.py) holds what is for everyone: iopub. There is one per kernel. Its messages are numbered, and a
number is never used twice. Each session has a *cursor*, the number of the message that it is to hear next. A session
is a number in this respect, not a queue: a hundred clients that are away cost no more than one. What lies before all
cursors is forgotten.

The *inbox* (inbox.py) holds what is for one session: replies and input requests, and what the server itself has to
tell it. Each message there has a *place*, the number that the next iopub message had when it was put. It is due once
the cursor has come to its place, so that the reply to a cell comes after the cell's output, and before what the next
cell says.

    log            10   11   12   13 | 14     next_seq = 14
    A, attached          ^cursor              in_flight = 11, 12
    B, away    ^cursor                        inbox: reply at 12, input request at 14

B will hear 10, 11, the reply, 12, 13, the input request.

Reading is a matter of two steps, because a connection may break in between: the outbox (outbox.py) takes messages from
inbox and log, and moves the cursor only when it learns how many of them were handed to the transport. The entries
between the two steps are the session's `in_flight`. The log may be merged meanwhile, but not across the end of one of
these, as the cursor may come to stand there; nor across a cursor or a place. So a cursor never points into an entry.

`recent` is there because handing a message to the transport does not mean that it was read, and a WebSocket has no
acknowledgement. When a connection is *lost*, which is to say that it ended without a closing handshake, the status
messages and replies of the last RECENT_S seconds become due again. It is these whose absence would leave a cell
spinning; a client that gets them twice is not harmed. That does not go for input requests, for which JupyterLab
opens one box each, nor for the notice of a restart, to which it reacts by connecting again.

`_left_at` is there for a client that comes back under a new session_id, as a page does when it is reloaded. For each
user it is where the last attached session was when it left. While it is set, it counts as one more cursor. A session
that is new begins there if it is the first of its user to come; if others are attached, it begins with what is said
from then on.

What is promised
----------------

A session hears the iopub messages from its first cursor on, and what is put into its inbox, in the order in which they
came to the journal. It hears each of them

- exactly once as long as its connections end with a closing handshake that the client reads to, or none has ended;
- after a lost connection, status messages and replies at least once, all others at most once.

What is missing because of a bound is counted, and the session is told the number before it hears what comes next.
Merging keeps the text of adjacent stream messages and the header of the first; it changes nothing else.

Not promised: an order between channels other than that of arrival; anything said before the first client came; output
that was in the transport of a lost connection; anything of the old process after a user's restart (`restart`), but for
what is in inboxes.

The bounds, and what gives way first
------------------------------------

1. What all sessions have heard is forgotten, whatever the bounds.
2. Where the log exceeds `ReplayLimits`, adjacent stream messages are merged. If that is not enough, the oldest messages
   are dropped. Those that are older than `max_age_s` are dropped in any case.
3. What an attached session has yet to hear is neither merged nor dropped. If that exceeds `BacklogLimits`, the
   session is put away (`trim` returns it, and its connection is to be closed): from then on, 2 holds for it.
4. An inbox that exceeds `ReplayLimits` loses its oldest messages, but never the only one.
5. Of the sessions that are away, `ReplayLimits.max_sessions` are remembered, those that left last; the user who has
   the most gives way first. Not by age: the reply to a cell that ran for an hour must find a laptop that was closed.
   `_left_at` is kept for as many users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..kernel_driver.message import Message
from .client_session import ClientSession, SessionKey
from .inbox import Inbox
from .iopub_log import IopubLog, ReplayLimits
from .tally import JournalStatistics, Tally


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How far an attached session may be behind before it is put away.

    min_messages: how many messages may wait for it whatever their size.
    """

    max_messages: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    min_messages: int = 4


class Journal:
    """The log, the sessions and their inboxes."""

    def __init__(self, replay: ReplayLimits | None = None, backlog: BacklogLimits | None = None) -> None:
        self.log = IopubLog(replay or ReplayLimits())
        self._backlog = backlog or BacklogLimits()
        self._sessions: dict[SessionKey, ClientSession] = {}
        self._left_at: dict[str, int] = {}

    @property
    def tally(self) -> Tally:
        """The counters of the kernel's web side."""
        return self.log.tally

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(
            away=sum(not session.attached for session in self.sessions),
            held_bytes=self.log.bytes + sum(session.inbox.size for session in self.sessions),
        )

    @property
    def sessions(self) -> Collection[ClientSession]:
        """All that are remembered, attached or away."""
        return self._sessions.values()

    @property
    def left_at(self) -> dict[str, int]:
        """By user, where a session begins that is new, while no other one of the user is attached."""
        return self._left_at

    def find(self, key: SessionKey) -> ClientSession | None:
        """The session, if it is remembered."""
        return self._sessions.get(key)

    def restore(self, key: SessionKey, now: float) -> ClientSession:
        """Remember a session of an earlier server, which is away and has heard everything so far."""
        session = self._sessions[key] = ClientSession(key, Inbox(self.log.limits), self.log.next_seq, now)
        return session

    def attach(self, session_id: str, now: float, *, user: str = "", maybe_lost: bool = False) -> ClientSession:
        """A client is there to read: returns its session, a new one if the user has none of this id.

        Call `trim` before, so that the client is not given what has become too old meanwhile.
        maybe_lost: whether it has an older connection, of which nothing tells yet that it was lost.
        """
        key = user, session_id
        left_at = self._left_at.pop(user, self.log.next_seq)
        session = self._sessions.get(key)
        if session is not None:
            self.tally.replayed += self.log.waiting(session.cursor)[0] + len(session.inbox)
        else:
            session = self._sessions[key] = ClientSession(key, Inbox(self.log.limits), left_at, now)
        if maybe_lost:
            session.repeat_recent(now)
        session.attached = True
        self._forget_sessions()
        return session

    def _forget_sessions(self) -> None:
        """Forget sessions that are away, beyond the bound."""
        away = sorted((one for one in self._sessions.values() if not one.attached), key=lambda one: one.left_at)
        of_user = Counter(one.user for one in away)
        for _ in range(len(away) - self.log.limits.max_sessions):
            most = max(of_user.values())
            one = next(one for one in away if of_user[one.user] == most)
            away.remove(one)
            of_user[one.user] -= 1
            del self._sessions[one.key]

    def detach(self, session: ClientSession, now: float, *, lost: bool) -> None:
        """The client's connection has ended; it is away from now on, if it was not put away before.

        lost: whether it ended without a closing handshake.
        """
        session.attached = False
        session.left_at = now
        if lost:
            session.repeat_recent(now)
        else:
            session.recent.clear()
        if not any(one.attached for one in self._sessions.values() if one.user == session.user):
            self._left_at.pop(session.user, None)  # the latest at the end
            self._left_at[session.user] = session.cursor
            if len(self._left_at) > max(1, self.log.limits.max_sessions):
                del self._left_at[next(iter(self._left_at))]

    def append(self, messages: Sequence[Message], now: float) -> None:
        """Keep iopub messages. Call `trim` afterwards."""
        if self._sessions or self._left_at:  # else no client has ever been there to hear them
            self.log.append(messages, now)

    def put(self, session: ClientSession, channel: str, frames: Sequence[bytes]) -> None:
        """Keep a message for one session, after all iopub messages so far."""
        session.inbox.put(self.log.next_seq, channel, frames)

    def recipient(self, message: Message) -> ClientSession | None:
        """The session that a reply or an input request is for: that of the request.

        For what answers no request that is remembered, where all are one user, that of the parent header. What has no
        parent header is for the only session that is attached, if it is the only one.
        """
        origin = message.request.origin if message.request is not None else None
        if origin is None:
            attached = [session for session in self._sessions.values() if session.attached]
            if message.request is None and not message.parent_msg_id and len(attached) == 1:
                return attached[0]
            return self._sessions.get(("", message.parent_session))
        return self._sessions.get(origin.key, origin) if isinstance(origin, ClientSession) else None

    def discard_input_requests(self) -> None:
        """Forget input requests that wait in inboxes: nothing waits for the answers any more."""
        for session in self._sessions.values():
            session.inbox.discard("stdin")

    def restart(self) -> None:
        """Forget what the old process said on iopub. What is in inboxes stays, and is due."""
        self.log.clear()
        for session in self._sessions.values():
            session.cursor = self.log.next_seq
            session.inbox.move_up(session.cursor)
        self._left_at = dict.fromkeys(self._left_at, self.log.next_seq)

    def trim(self, now: float) -> list[ClientSession]:
        """Forget what all have heard, and see to it that the bounds hold.

        Returns the sessions that were put away because they were too far behind. Their connections are to be closed,
        and the sessions detached when that is done.
        """
        log, backlog, sessions = self.log, self._backlog, self._sessions.values()
        cursors = [session.cursor for session in sessions]
        cursors += self._left_at.values()
        log.forget_before(min(cursors, default=log.next_seq))
        if not log.exceeds_bounds(now) and log.bytes <= backlog.max_bytes:
            return []
        put_away = []
        attached = []
        for session in sessions:
            cursors += session.inbox.places()
            cursors += [entry.end for entry in session.in_flight]
            if not session.attached:
                continue
            messages, size = log.waiting(session.cursor)
            if messages > backlog.max_messages or (size > backlog.max_bytes and messages > backlog.min_messages):
                session.attached = False
                session.left_at = now
                put_away.append(session)
            else:
                attached.append(session.cursor)
        log.keep_bounds(cursors, now, keep_from=min(attached, default=log.next_seq))
        return put_away
