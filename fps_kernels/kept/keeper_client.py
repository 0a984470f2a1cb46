"""A server's connection to its keeper. It comes back by itself.

The keeper that it comes back to may be the same one, which has gone on with everything, or a new one, if the first has
died. Whoever uses the connection for a kernel is told which it is, in the order in which they came.

What is written while there is no connection waits for it, within bounds; it is dropped when another keeper has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from .. import __version__
from ..errors import FPSKernelsError, KernelFailure, KernelNotConnected, QueueFull
from ..keeper.keeper_folder import BadKeeperFolder, KeeperFolder
from ..keeper.keeper_wire import BATCH, CALL, Batch, Frame, decode_batch, decode_json, encode_json, encode_send, spoken
from ..kernel_driver.header import Buffer
from ..tasks import TaskSet
from .keeper_connection import KeeperConnection
from .keeper_start import KeeperUnavailable, find_or_start

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
"""Seconds within which a keeper must answer, a connection that has to come back included."""
RUN_TIMEOUT_S = 30.0
"""The same, of the launch of a process."""
UNSENT_BYTES = 64 * 1024 * 1024
"""What may wait for a keeper that does not read, or is not connected."""
UNSENT_CALL_BYTES = 2 * UNSENT_BYTES
"""The same before calls are refused: a signal must not be lost because many messages wait."""
LEAVE_TIMEOUT_S = 1.0
"""Seconds for which a keeper that does not read is waited for at the end."""
RETRY_S, RETRY_MAX_S = 0.05, 2.0
"""Between two attempts to connect again; doubled each time."""

OnAnswer = Callable[[Mapping[str, Any]], None]


class RefusedByKeeper(KernelFailure):
    """The keeper has refused a call.

    answer: what it said.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("error")))
        self.answer = answer


class OtherProtocol(KeeperUnavailable):
    """The keeper that runs and we have no version of the protocol in common.

    answer: what it said: pid, version, protocol, oldest, kernels, which is how many it holds.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(
            f"{answer['error']}; this is {__version__}, with {spoken()}. Its kernels go on with fps_kernels "
            f"{answer['version']}; `fps-kernels keeper stop` ends them, and it"
        )
        self.answer = answer


class KeeperUser(Protocol):
    """Who uses the connection for one kernel."""

    def on_batch(self, batch: Batch) -> None:
        """What has passed between the kernel and its servers."""

    def on_event(self, event: Mapping[str, Any]) -> None:
        """What has happened to the kernel."""

    async def on_reconnected(self, *, same: bool) -> None:
        """The connection has come back: to the same keeper, or to a new one, which knows nothing."""


class KeeperClient:
    """The connection.

    folder: the state folder.
    orphan_timeout_s: seconds without servers after which a keeper that is started here ends its kernels.

    server_id: what this server is called at the keeper.
    bounds: how much the keeper is to keep of each kernel, as arguments of its calls; {} for its own bounds.
    hello: what the keeper has said of itself: uuid, pid, version, protocol; {} before the first connection.
    well: whether the keeper is connected, and answers.
    on_change: called when `well` has changed.
    """

    def __init__(self, folder: KeeperFolder, orphan_timeout_s: float = 86_400.0) -> None:
        self.server_id = uuid.uuid4().hex
        self.bounds: Mapping[str, int] = {}
        self.hello: Mapping[str, Any] = {}
        self.well = False
        self.on_change: Callable[[], None] = lambda: None
        self._connect = partial(find_or_start, folder, self._make, orphan_timeout_s)
        self._connection: KeeperConnection | None = None
        self._left = False
        self._numbers = itertools.count(1)
        self._answers: dict[int, OnAnswer] = {}
        self._users: dict[str, list[KeeperUser]] = {}
        self._handles: dict[int, str] = {}
        self._unsent: deque[bytes | Buffer] = deque()
        self._unsent_bytes = 0
        self._tasks = TaskSet()

    @property
    def uuid(self) -> str:
        """The keeper's; "" before the first connection."""
        return str(self.hello.get("uuid", ""))

    @property
    def left(self) -> bool:
        """Whether `leave` was called: the kernels are not ours any more."""
        return self._left

    async def start(self) -> None:
        """Connect to the keeper, which is started if there is none.

        Raises KeeperUnavailable, also when it has another protocol; BadKeeperFolder.
        """
        connection = await self._connect()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                hello = await connection.hello(self.server_id)
        except TimeoutError as exc:
            connection.close()
            raise KeeperUnavailable("The process that keeps kernels does not answer") from exc
        if "error" in hello:
            connection.close()
            if "protocol" in hello:
                raise OtherProtocol(hello)
            raise KeeperUnavailable(str(hello["error"]))
        same, self.hello = self.uuid == hello["uuid"], hello
        if not same:
            self._handles.clear()
            self._unsent.clear()
            self._unsent_bytes = 0
        self._connection = connection
        connection.begin()
        self._set_well(True)
        unsent, self._unsent, self._unsent_bytes = self._unsent, deque(), 0
        for data in unsent:
            connection.write(data)
        for users in list(self._users.values()):
            for user in tuple(users):
                try:
                    await user.on_reconnected(same=same)
                except FPSKernelsError as exc:
                    logger.warning("a kernel is not what it was before its keeper was lost: %s", exc)

    def _make(self) -> KeeperConnection:
        return KeeperConnection(self)

    def _set_well(self, well: bool) -> None:
        if self.well is not well:
            self.well = well
            if not well:
                logger.warning("the process that keeps kernels does not answer")
            self.on_change()

    def add(self, kernel_id: str, user: KeeperUser) -> None:
        """Tell `user` what the keeper tells of a kernel."""
        self._users.setdefault(kernel_id, []).append(user)

    def remove(self, kernel_id: str, user: KeeperUser) -> None:
        """Undo `add`. May be called twice."""
        users = self._users.get(kernel_id, [])
        if user in users:
            users.remove(user)
        if not users:
            self._users.pop(kernel_id, None)

    def note_handle(self, handle: int, kernel_id: str) -> None:
        """Frames with this handle are about that kernel."""
        self._handles[handle] = kernel_id

    async def call(self, do: str, *, timeout_s: float = CALL_TIMEOUT_S, **fields: Any) -> Mapping[str, Any]:
        """Have the keeper do something; returns its answer. Raises RefusedByKeeper, KeeperUnavailable."""
        answered: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Mapping[str, Any]) -> None:
            if not answered.done():
                answered.set_result(answer)

        number = self.ask(do, on_answer, **fields)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await answered
        except TimeoutError as exc:
            raise KeeperUnavailable("The process that keeps this kernel does not answer") from exc
        finally:
            self._answers.pop(number, None)
        if answer.get("lost"):
            raise KeeperUnavailable("The process that keeps this kernel was lost")
        if "error" in answer:
            raise RefusedByKeeper(answer)
        return answer

    def ask(self, do: str, on_answer: OnAnswer, **fields: Any) -> int:
        """Have the keeper do something; its answer is given to `on_answer`, or {"lost": True} when it will not come.

        Raises KeeperUnavailable after `leave`, QueueFull.
        """
        number = next(self._numbers)
        self._write([encode_json(CALL, {"do": do, "id": number, **fields})], UNSENT_CALL_BYTES)
        self._answers[number] = on_answer
        return number

    def tell(self, do: str, **fields: Any) -> None:
        """Have the keeper do something, without an answer. Nothing is done after `leave`."""
        if not self._left:
            with contextlib.suppress(QueueFull):
                self._write([encode_json(CALL, {"do": do, **fields})], UNSENT_CALL_BYTES)

    def send(self, handle: int, channel: str, note: bytes, frames: Sequence[Buffer]) -> None:
        """Send a message to a kernel. Raises QueueFull; KernelNotConnected after `leave`."""
        self._write(encode_send(handle, channel, note, frames), UNSENT_BYTES)

    def _write(self, pieces: Sequence[bytes | Buffer], max_bytes: int) -> None:
        if self._left:
            raise KernelNotConnected("The kernel is left to its keeper")
        connection = self._connection
        waiting = self._unsent_bytes if connection is None else connection.waiting_bytes
        if waiting > max_bytes:
            raise QueueFull("The process that keeps this kernel does not read, and too much waits for it")
        for data in pieces:
            if connection is None:
                self._unsent.append(data)
                self._unsent_bytes += len(data)
            else:
                connection.write(data)

    # What follows is for the connection.

    def on_frame(self, frame: Frame) -> None:
        """A frame that is no hello and no ping. Raises BadFrame."""
        if frame.kind == BATCH:
            batch = decode_batch(frame)
            for user in tuple(self._users.get(self._handles.get(frame.handle, ""), ())):
                user.on_batch(batch)
            return
        event = decode_json(frame)
        if event.get("event") == "answer":
            on_answer = self._answers.pop(event.get("id", 0), None)
            if on_answer is not None:
                on_answer(event)
        elif event.get("event") == "closed":
            logger.warning("the keeper closes the connection: %s", event.get("reason"))
        else:
            for user in tuple(self._users.get(str(event.get("kernel")), ())):
                user.on_event(event)

    def on_silence(self, silent: bool) -> None:
        """Nothing was heard for SILENCE_S, or something is heard again."""
        if self._connection is not None:
            self._set_well(not silent)

    def on_lost(self, connection: KeeperConnection) -> None:
        """The connection has ended."""
        if connection is not self._connection:
            return
        self._connection = None
        answers, self._answers = self._answers, {}
        for on_answer in answers.values():
            on_answer({"lost": True})
        if not self._left:
            self._set_well(False)
            self._tasks.start(self._reconnect(), name="reconnecting to the keeper")

    async def _reconnect(self) -> None:
        wait_s = RETRY_S
        while not self._left:
            try:
                await self.start()
                logger.info("the keeper is connected again")
                return
            except (KeeperUnavailable, BadKeeperFolder) as exc:
                logger.warning("%s", exc.message)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    async def leave(self) -> None:
        """End the connection, and leave the kernels to the keeper: nothing that is done to them here has an effect.

        May be called twice.
        """
        self._left = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await connection.lost.wait()
            connection.close(now=True)
        for on_answer in list(self._answers.values()):
            on_answer({"lost": True})
        self._answers.clear()
        await self._tasks.close()
