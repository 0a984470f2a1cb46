"""The endpoints about kernels: list, start, show, shut down, interrupt and restart them."""

from __future__ import annotations

import logging
import uuid

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import Forbidden, InvalidKernelId
from ..json_model import Text
from ..kernel_driver.own_connection_file import SAFE_KERNEL_ID
from ..kernels.registry import KernelRegistry
from .host import Host
from .json_body import Environment, read_model
from .responses import json_response

logger = logging.getLogger(__name__)


class NewKernel(msgspec.Struct, frozen=True):
    """The body of a request that starts a kernel. Whatever it does not say is chosen by the server."""

    name: Text | None = None
    path: Text | None = None
    kernel_id: Text | None = None
    env: Environment | None = None


class KernelEndpoints:
    """`/api/kernels`."""

    def __init__(self, registry: KernelRegistry, host: Host) -> None:
        self._registry = registry
        self._host = host

    async def all(self) -> Response:
        check_may_list(self._registry)
        return json_response([kernel.model() for kernel in self._registry.list()])

    async def start(self, request: Request) -> Response:
        body = await read_model(request, NewKernel)
        if body.kernel_id is not None:
            _check_uuid(body.kernel_id)
        environ: dict[str, str] = body.env or {}
        kernel = await self._registry.start(
            body.name,
            kernel_id=body.kernel_id,
            path=body.path or "",
            env=environ,
            at_once=self._host.at_once(request, environ),
        )
        return json_response(kernel.model(), 201, {"Location": f"{self._host.base_url}api/kernels/{kernel.id}"})

    async def one(self, kernel_id: str) -> Response:
        return json_response(self._registry.get(kernel_id).model())

    async def shutdown(self, kernel_id: str) -> Response:
        self._note(kernel_id, "shut down")
        await self._registry.shutdown(kernel_id)
        return Response(status_code=204)

    async def interrupt(self, kernel_id: str) -> Response:
        self._note(kernel_id, "interrupted")
        await self._registry.get(kernel_id).driver.interrupt()
        return Response(status_code=204)

    async def restart(self, kernel_id: str) -> Response:
        self._note(kernel_id, "restarted")
        return json_response((await self._registry.restart(kernel_id)).model())

    def _note(self, kernel_id: str, what: str) -> None:
        """Log what a client asks of a kernel. Raises KernelNotFound."""
        logger.info("kernel %s is to be %s, as a client asks", self._registry.get(kernel_id).id, what)


def check_may_list(registry: KernelRegistry) -> None:
    """Raises Forbidden where kernels and sessions may not be listed."""
    if not registry.policy.may_list:
        raise Forbidden("Forbidden: set list_kernels to allow lists of kernels and sessions")


def _check_uuid(kernel_id: str) -> None:
    """Raises InvalidKernelId."""
    try:
        uuid.UUID(kernel_id)
    except ValueError as exc:
        raise InvalidKernelId(f"kernel_id is not a UUID: {kernel_id[:100]}") from exc
    # uuid.UUID also reads braces and a urn: prefix, which have no place in a URL.
    if not SAFE_KERNEL_ID.fullmatch(kernel_id):
        raise InvalidKernelId(f"kernel_id is not a UUID: {kernel_id[:100]}")
