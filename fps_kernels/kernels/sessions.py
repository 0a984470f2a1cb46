"""Sessions of the REST API: which notebook, console or file uses which kernel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from ..errors import ControlNotAllowed, KernelNotFound, NoSuchKernel, SessionNotFound, StoreUnreachable
from ..store.model import SessionRow
from .keeping.kernel_record import text_of
from .kernel import Kernel, KernelModel
from .registry import KernelRegistry

logger = logging.getLogger(__name__)


class NotebookModel(TypedDict):
    path: str
    name: str


class SessionModel(TypedDict):
    id: str
    path: str
    name: str
    type: str
    kernel: KernelModel
    notebook: NotRequired[NotebookModel]


@dataclass(slots=True)
class Session:
    """A path that has a kernel. Several sessions may share one kernel.

    named: set when a client has given it its name; JupyterLab does so last, before it listens to the kernel's state.
    """

    id: str
    path: str
    name: str
    type: str
    kernel_id: str
    named: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """The kernel that a client wants for a session.

    id: the id of an existing kernel; None for a new one.
    name: the name of a kernelspec; None for the default one.
    named: whether the client's request has a name, even if it is null.
    """

    id: str | None = None
    name: str | None = None
    named: bool = False


class SessionStore:
    """All sessions of a server, by id. A path has at most one."""

    def __init__(self, registry: KernelRegistry) -> None:
        self._registry = registry
        self._keepsake = registry.factory.keepsake
        self._changing = asyncio.Lock()  # what is written down is made before the next is written
        self._sessions: dict[str, Session] = {}
        self._creating: dict[str, asyncio.Task[Session]] = {}
        registry.watch(on_removed=self._forget_kernel)

    def get(self, session_id: str) -> Session:
        """Raises SessionNotFound."""
        try:
            return self._sessions[session_id]
        except KeyError:
            raise SessionNotFound(session_id) from None

    def restore(self, row: SessionRow) -> None:
        """Take in a session of a server before this one. Its kernel must be there."""
        self._sessions[row.id] = session = Session(row.id, row.path, row.name, row.type, row.kernel_id)
        session.named.set()

    def list(self) -> list[Session]:
        """Return all sessions, oldest first."""
        return list(self._sessions.values())

    def path_of(self, kernel_id: str) -> str | None:
        """Return the path of the first session that has this kernel."""
        return next((one.path for one in self._sessions.values() if one.kernel_id == kernel_id), None)

    async def wait_named(self, kernel_id: str, timeout_s: float) -> None:
        """Wait until the sessions of a kernel have been named, but no longer than so many seconds."""
        waiting = [one.named.wait() for one in self._sessions.values() if one.kernel_id == kernel_id]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*waiting)

    def model(self, session: Session) -> SessionModel:
        """Return what the REST API shows. Raises KernelNotFound."""
        model: SessionModel = {
            "id": session.id,
            "path": session.path,
            "name": session.name,
            "type": session.type,
            "kernel": self._registry.get(session.kernel_id).model(),
        }
        if session.type == "notebook":
            model["notebook"] = {"path": session.path, "name": session.name}
        return model

    async def create(
        self,
        path: str,
        name: str,
        kind: str,
        choice: KernelChoice,
        *,
        may_control: bool = True,
        at_once: bool = False,
    ) -> Session:
        """Create a session with a kernel, or return the one that the path already has.

        kind: notebook, console or file, as clients name it.
        may_control: whether the client may start and end kernels: a session that ends takes its kernel with it.
        at_once: see KernelRegistry.start.
        Raises ControlNotAllowed when the path has none, and the client may not control kernels; KernelNotFound for an
        unknown id without a name; and whatever starting a kernel raises.
        """
        session = self._of_path(path)
        if session is not None:
            await self._registry.wait_stopped(session.kernel_id)  # the session ends with its kernel
            session = self._of_path(path)
        if session is not None:
            return session
        # Concurrent requests for one path get the same session, and one kernel.
        task = self._creating.get(path)
        if task is None:
            _check_control(may_control, "start a kernel for a session, or attach a session to one")
            task = asyncio.create_task(self._create(path, name, kind, choice, at_once), name=f"session for {path}")
            self._creating[path] = task
            task.add_done_callback(lambda _: self._creating.pop(path, None))
        return await asyncio.shield(task)

    def _of_path(self, path: str) -> Session | None:
        return next((session for session in self._sessions.values() if session.path == path), None)

    async def _create(self, path: str, name: str, kind: str, choice: KernelChoice, at_once: bool) -> Session:
        await self._registry.wait_stopped(choice.id)
        if choice.id is not None and choice.id in self._registry:
            kernel = self._registry.get(choice.id)
        elif choice.id is not None and not choice.named:
            raise KernelNotFound(choice.id)
        else:
            kernel = await self._start_kernel(path, choice, at_once)
        session = Session(str(uuid.uuid4()), path, name, kind, kernel.id)
        async with self._changing:
            await self._keep(session, new_kernel=kernel.id != choice.id)
            if kernel.id not in self._registry:
                raise KernelNotFound(kernel.id)
            self._sessions[session.id] = session
        return session

    async def _keep(self, session: Session, *, new_kernel: bool) -> None:
        """Have a session written down. Raises StoreUnreachable; its kernel is ended then if it is a new one."""
        row = SessionRow(
            session.id,
            session.path,
            session.name,
            session.type,
            session.kernel_id,
            str(self._registry.root),
            text_of(datetime.now(UTC)),
        )
        try:
            await self._keepsake.keep_session(row)
        except StoreUnreachable:
            if new_kernel and session.kernel_id in self._registry:
                await self._registry.remove(self._registry.get(session.kernel_id))
            raise

    async def _start_kernel(self, path: str, choice: KernelChoice, at_once: bool) -> Kernel:
        return await self._registry.start(
            choice.name, kernel_id=choice.id, path=path, session_path=path, at_once=at_once
        )

    async def change(
        self,
        session_id: str,
        *,
        path: str | None = None,
        name: str | None = None,
        kind: str | None = None,
        choice: KernelChoice | None = None,
        may_control: bool = True,
        at_once: bool = False,
    ) -> Session:
        """Change what is given, all of it or nothing. A kernel that no session has any more is shut down.

        choice: with an id, that kernel is attached; otherwise, a new one is started.
        may_control: whether the client may start and end kernels.
        at_once: see KernelRegistry.start; the end of the kernel before is not waited for, either.
        Raises SessionNotFound; NoSuchKernel for an unknown id; ControlNotAllowed when the kernel would become another
        one, and the client may not control kernels; whatever starting a kernel raises.
        """
        session = self.get(session_id)
        if choice is not None and (choice.id is not None or choice.name is not None):
            _check_control(may_control or choice.id == session.kernel_id, "give a session another kernel")
        known_path = session.path  # as the kernel knows it
        kernel_id = None
        if choice is not None and choice.id is not None:
            await self._registry.wait_stopped(choice.id)
            if choice.id not in self._registry:
                raise NoSuchKernel(choice.id)
            kernel_id = choice.id
        elif choice is not None and choice.name is not None:
            known_path = path or session.path
            kernel_id = (await self._start_kernel(known_path, choice, at_once)).id
        if session.id not in self._sessions:  # deleted while its new kernel was starting
            await self._release(kernel_id or session.kernel_id)
            raise SessionNotFound(session_id)
        async with self._changing:
            # This is read only now because another request may have replaced the kernel meanwhile.
            changed = Session(
                session.id,
                session.path if path is None else path,
                session.name if name is None else name,
                kind or session.type,
                kernel_id or session.kernel_id,
            )
            await self._keep(changed, new_kernel=choice is not None and kernel_id not in (None, choice.id))
            old_kernel_id, kernel_id = session.kernel_id, changed.kernel_id
            session.path = changed.path
            if session.path != known_path:
                self._registry.get(kernel_id).rename(self._registry.root, session.path)
            if name is not None:
                session.name = name
                session.named.set()
            session.type = changed.type
            session.kernel_id = kernel_id
        if old_kernel_id != kernel_id:
            await self._release(old_kernel_id, wait=not at_once)
        return session

    async def delete(self, session_id: str, *, may_control: bool = True) -> None:
        """Forget a session. Its kernel is shut down unless another session has it.

        may_control: whether the client may start and end kernels.
        Raises SessionNotFound; ControlNotAllowed when its kernel would be shut down, and the client may not do that.
        """
        session = self.get(session_id)
        if self._ends_with(session):
            _check_control(may_control, "delete the last session of a kernel, which shuts the kernel down")
        async with self._changing:
            await self._keepsake.forget_session(session_id)
            if self._sessions.pop(session_id, None) is None:  # its kernel has ended meanwhile
                raise SessionNotFound(session_id)
        await self._release(session.kernel_id)

    def _ends_with(self, session: Session) -> bool:
        """Whether the kernel of a session is shut down with it."""
        kernel_id = session.kernel_id
        if any(one.kernel_id == kernel_id for one in self._sessions.values() if one is not session):
            return False
        return kernel_id in self._registry and not self._registry.get(kernel_id).external

    async def _release(self, kernel_id: str, *, wait: bool = True) -> None:
        if any(session.kernel_id == kernel_id for session in self._sessions.values()):
            return
        try:
            if not self._registry.get(kernel_id).external:
                await self._registry.shutdown(kernel_id, wait=wait)
        except KernelNotFound:
            logger.debug("kernel %s was gone before its session", kernel_id)

    def _forget_kernel(self, kernel_id: str) -> None:
        self._sessions = {key: one for key, one in self._sessions.items() if one.kernel_id != kernel_id}


def _check_control(may_control: bool, action: str) -> None:
    """Raises ControlNotAllowed."""
    if not may_control:
        raise ControlNotAllowed(action)
