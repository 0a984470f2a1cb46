"""The methods of Jupyverse's `Kernels`, which its other plugins call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from starlette.websockets import WebSocket

from ...api.routes import KernelRoutes
from ...api.table import Permissions
from ...kernel_driver.kernelspec import KernelspecsModel
from ...kernels.external_folder import ExternalKernels
from ...kernels.kernel import KernelModel
from ...kernels.sessions import SessionModel
from .api_routes import serve_channels


class KernelsMethods(KernelRoutes):
    """The abstract methods of `Kernels`, which both generations of Jupyverse have.

    They do what its routes of the same names promise, for the user who is given; our own routes do not call them.
    """

    async def watch_connection_files(self, path: Path) -> None:
        """Take in external kernels from a folder, until cancelled."""
        await ExternalKernels(self.registry, path).watch()

    async def get_status(self, user: Any) -> dict[str, Any]:
        return self.registry.status()

    async def get_kernelspecs(self, user: Any) -> KernelspecsModel:
        return await self.registry.specs.list_all()

    async def get_kernelspec(self, kernel_name: str, file_name: str, user: Any) -> Response:
        return await self.kernelspec_endpoints.resource(kernel_name, file_name)

    async def get_kernels(self, user: Any) -> list[KernelModel]:
        return [kernel.model() for kernel in self.registry.list()]

    async def get_kernel(self, kernel_id: str, user: Any) -> KernelModel:
        return self.registry.get(kernel_id).model()

    async def shutdown_kernel(self, kernel_id: str, user: Any) -> None:
        await self.registry.shutdown(kernel_id)

    async def interrupt_kernel(self, kernel_id: str, user: Any) -> None:
        await self.registry.get(kernel_id).driver.interrupt()

    async def restart_kernel(self, kernel_id: str, user: Any) -> KernelModel:
        return (await self.registry.restart(kernel_id)).model()

    async def execute_cell(self, request: Request, kernel_id: str, user: Any) -> dict[str, Any]:
        return await self.execution_endpoints.execute_model(request, kernel_id)

    async def get_sessions(self, user: Any) -> list[SessionModel]:
        return [self.sessions.model(session) for session in self.sessions.list()]

    async def create_session(self, request: Request, user: Any) -> SessionModel:
        return await self.session_endpoints.create_model(request)

    async def rename_session(self, request: Request, user: Any) -> SessionModel:
        return await self.session_endpoints.change_model(request, request.path_params["session_id"])

    async def delete_session(self, session_id: str, user: Any) -> None:
        await self.sessions.delete(session_id)

    async def kernel_channels(
        self, kernel_id: str, session_id: str | None, websocket_permissions: tuple[WebSocket, Permissions | None]
    ) -> None:
        await serve_channels(self, kernel_id, session_id, websocket_permissions)
