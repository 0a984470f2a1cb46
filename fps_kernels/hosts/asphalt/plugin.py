"""The route table under Jupyverse, which takes FastAPI.

`_Kernels` is jupyverse's `Kernels`, so that other plugins find it, but with a router of its own: the
base class lacks a third of the routes and answers with other status codes, and a path can be
registered only once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jupyverse_api import Router
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.auth.models import User
from jupyverse_api.exceptions import RedirectException
from jupyverse_api.kernels import Kernels
from starlette.websockets import WebSocket

from ...api.cross_site import check_page
from ...api.host import Host
from ...api.responses import Handler, error_response, respond, security_headers
from ...api.routes import KernelRoutes
from ...api.table import CHANNELS_PATH, Endpoint, Permissions, fallbacks
from ...kernel_driver.kernelspec import KernelspecsModel
from ...kernels.external_folder import ExternalKernels
from ...kernels.kernel import KernelModel
from ...kernels.registry import KernelRegistry
from ...kernels.sessions import SessionModel

if TYPE_CHECKING:
    from ...execution.service import ExecutionService


class _Kernels(KernelRoutes, Kernels):
    """The kernels of a Jupyverse: what its plugins get when they ask for `Kernels`.

    router: all routes, without another router among them.
    """

    def __init__(
        self,
        app: App,
        auth: Auth,
        registry: KernelRegistry,
        host: Host,
        executions: ExecutionService | None = None,
    ) -> None:
        Router.__init__(self, app)  # not Kernels.__init__, see above
        KernelRoutes.__init__(self, registry, host, executions)
        self.router = api_router(self, auth, host.base_url)
        self.include_router(self.router)  # type: ignore[no-untyped-call]  # jupyverse_api leaves it untyped

    # What follows are the abstract methods of jupyverse's `Kernels`. They do what its routes of the same names promise,
    # for the user who is given; our own routes do not call them.

    async def watch_connection_files(self, path: Path) -> None:
        """Take in external kernels from a folder, until cancelled."""
        await ExternalKernels(self.registry, path).watch()

    async def get_status(self, user: User) -> dict[str, Any]:
        return self.registry.status()

    async def get_kernelspecs(self, user: User) -> KernelspecsModel:
        return await self.registry.specs.list_all()

    async def get_kernelspec(self, kernel_name: str, file_name: str, user: User) -> Response:
        return await self.kernelspec_endpoints.resource(kernel_name, file_name)

    async def get_kernels(self, user: User) -> list[KernelModel]:
        return [kernel.model() for kernel in self.registry.list()]

    async def get_kernel(self, kernel_id: str, user: User) -> KernelModel:
        return self.registry.get(kernel_id).model()

    async def shutdown_kernel(self, kernel_id: str, user: User) -> None:
        await self.registry.shutdown(kernel_id)

    async def interrupt_kernel(self, kernel_id: str, user: User) -> None:
        await self.registry.get(kernel_id).driver.interrupt()

    async def restart_kernel(self, kernel_id: str, user: User) -> KernelModel:
        return (await self.registry.restart(kernel_id)).model()

    async def execute_cell(self, request: Request, kernel_id: str, user: User) -> dict[str, Any]:
        return await self.execution_endpoints.execute_model(request, kernel_id)

    async def get_sessions(self, user: User) -> list[SessionModel]:  # type: ignore[override]  # JSON, not pydantic
        return [self.sessions.model(session) for session in self.sessions.list()]

    async def create_session(self, request: Request, user: User) -> SessionModel:  # type: ignore[override]  # same
        return await self.session_endpoints.create_model(request)

    async def rename_session(self, request: Request, user: User) -> SessionModel:  # type: ignore[override]  # same
        return await self.session_endpoints.change_model(request, request.path_params["session_id"])

    async def delete_session(self, session_id: str, user: User) -> None:
        await self.sessions.delete(session_id)

    async def kernel_channels(
        self, kernel_id: str, session_id: str | None, websocket_permissions: tuple[WebSocket, Permissions | None]
    ) -> None:
        await serve_channels(self, kernel_id, session_id, websocket_permissions)


def api_router(kernels: KernelRoutes, auth: Auth, base_url: str) -> APIRouter:
    """The same table for FastAPI, which finds permissions in an endpoint's dependencies."""
    router = APIRouter(route_class=_api_route_class(base_url))

    async def check(request: Request) -> None:
        check_page(kernels.host, request)

    for endpoint in (*kernels.table, kernels.channels.plain):
        dependencies = [Depends(check), Depends(kernels.host.on_request)]
        if endpoint.permissions is not None:
            dependencies.append(Depends(auth.current_user(permissions=endpoint.permissions or None)))
        _add(router, endpoint, dependencies)
    authenticate = auth.websocket_auth(permissions={"kernels": ["read", "execute"]})

    @router.websocket(CHANNELS_PATH)
    async def channels(kernel_id: str, websocket_permissions: Any = Depends(authenticate)) -> None:
        if websocket_permissions is not None:  # else it was refused and closed already
            session_id = websocket_permissions[0].query_params.get("session_id")
            await serve_channels(kernels, kernel_id, session_id, websocket_permissions)

    for endpoint in fallbacks(list(router.routes)):
        _add(router, endpoint, [])
    return router


async def serve_channels(
    kernels: KernelRoutes,
    kernel_id: str,
    session_id: str | None,
    websocket_permissions: tuple[WebSocket, Permissions | None],
) -> None:
    """Serve a WebSocket that jupyverse's Auth has let in."""
    websocket, permissions = websocket_permissions
    granted = None if permissions is None else permissions.get("kernels", [])
    await kernels.channels.serve(websocket, kernel_id, session_id, granted)


def _add(router: APIRouter, endpoint: Endpoint, dependencies: list[Any]) -> None:
    for method in endpoint.served_methods:  # a route each: FastAPI's document names an operation after its route
        router.add_api_route(
            endpoint.path,
            endpoint.answer,
            methods=[method],
            dependencies=dependencies,
            include_in_schema=endpoint.in_schema and method != "HEAD",
            response_model=None,
            name=endpoint.name,
        )


def _api_route_class(base_url: str) -> type[APIRoute]:
    """A route class whose routes always answer in our form.

    Needed under a host like plain jupyverse, whose FastAPI runs in debug mode and would show
    tracebacks for a 500, whatever exception handlers say.
    """
    security = security_headers(base_url)

    class KernelsRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()

            async def checked(request: Request) -> Response:
                try:
                    return await answer(request)
                except RequestValidationError as exc:
                    fields = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors())
                    return error_response(422, f"Invalid request: {fields}")

            async def handle(request: Request) -> Response:
                return await respond(checked, request, security, through=(RedirectException,))  # its way to a login

            return handle

    return KernelsRoute
