"""What a server writes down of its kernels and sessions, as those see it who have something to say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...store.model import Purpose, SessionRow

if TYPE_CHECKING:
    from ...kernel_driver.launch import LaunchOptions
    from ...kernel_driver.launcher import Launcher
    from ..kernel import Kernel
    from ..kernel_folder import KernelFolder
    from .kernel_keeper import KernelKeeper


class Keepsake:
    """Where it is written down what becomes of kernels and sessions, for the next server. Nowhere; derive from it.

    What begins a kernel, ends one at a client's request, or changes a session fails when it cannot be written down.
    All else is written later then.

    keeper: what keeps the processes of kernels; None if they end with the server.
    stays: whether kernels whose processes can outlive the server go on when it is stopped.
    trouble: what keeps it from beginning kernels now, in words; "" for nothing.
    """

    keeper: KernelKeeper | None = None
    stays = False

    @property
    def trouble(self) -> str:
        return ""

    def outlives(self, kernel_id: str) -> bool:
        """Whether the process of a kernel can outlive this server."""
        return False

    def began(self, kernel_id: str) -> str:
        """When a kernel was started, by this server or one before it, as `text_of` writes it; "" if it is not known."""
        return ""

    async def open(self) -> None:
        """Get ready. Raises BadOption, StoreUnreachable, KeeperUnavailable."""

    async def leave(self) -> None:
        """Write down what there is, for the next server: of kernels that can outlive this one, no more is written.

        May be called twice.
        """

    async def close(self) -> None:
        """Write what is left, and end. May be called twice."""

    def launcher(
        self,
        launcher: Launcher,
        kernel_id: str,
        options: LaunchOptions,
        *,
        folder: KernelFolder | None,
        purpose: Purpose,
        startup_timeout_s: float,
    ) -> Launcher:
        """Have the processes of a new kernel written down; returns the launcher to use.

        Its `take` raises StoreUnreachable, before the first process of the kernel is launched.
        """
        return launcher

    def note_launched(self, kernel_id: str, **changes: Any) -> None:
        """Write down what other processes of a kernel are launched with: fields of Launched."""

    def follow(self, kernel: Kernel) -> None:
        """Have what happens to a kernel written down. Its start must have begun. Does nothing for external ones."""

    async def ending(self, kernel_id: str) -> None:
        """A client wants to end a kernel. Raises StoreUnreachable."""

    def ends(self, kernel_id: str) -> None:
        """A kernel is being ended."""

    def gone(self, kernel_id: str) -> None:
        """A kernel has been forgotten, and so have its sessions."""

    async def keep_session(self, session: SessionRow) -> None:
        """A session is about to be made or changed. Raises StoreUnreachable."""

    async def forget_session(self, session_id: str) -> None:
        """A session is about to be forgotten. Raises StoreUnreachable."""
