"""The endpoints about the server itself: its version, its status, reports, and where paths lead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import InvalidBody, KernelNotFound, MissingField
from ..kernel_driver.driver import KernelDriver
from ..kernels.registry import KernelRegistry
from .resolve_path import contents_path, normal_path, path_below
from .responses import json_response


class ServerEndpoints:
    """`/api`, `/api/status`, `/api/security/csp-report` and `/api/resolvePath`."""

    def __init__(self, registry: KernelRegistry) -> None:
        self._registry = registry

    async def version(self) -> Response:
        return json_response({"version": __version__})

    async def status(self) -> Response:
        return json_response(self._registry.status())

    async def csp_report(self) -> Response:
        return Response(status_code=204)

    async def resolve_path(self, request: Request) -> Response:
        """Where a path leads: seen from the contents root (`server`) and from a kernel's folder (`kernel`).

        A path outside the root leads nowhere, whether it exists or not.
        """
        path = request.query_params.get("path")
        kernel_id = request.query_params.get("kernel")
        if path is None:
            raise MissingField("path")
        if "\0" in path:
            raise InvalidBody("path must not contain NUL")
        resolved = []
        unresolved = []
        found = await asyncio.to_thread(contents_path, self._registry.root, path)
        if found is not None:
            resolved.append({"scope": "server", "path": found})
        if kernel_id:
            try:
                kernel = self._registry.get(kernel_id)
            except KernelNotFound:
                unresolved.append({"scope": "kernel", "reason": f"Kernel {kernel_id} could not be found"})
            else:
                found = await asyncio.to_thread(_kernel_path, self._registry.root, kernel.driver, path)
                if found is not None:
                    resolved.append({"scope": "kernel", "path": found})
        answer: dict[str, Any] = {"resolved": resolved}
        if unresolved:
            answer["unresolved"] = unresolved
        return json_response(answer)


def _kernel_path(root: Path, driver: KernelDriver, path: str) -> str | None:
    """What the kernel would find, if that is below the root."""
    try:
        normal = normal_path(path)
    except RuntimeError:  # the home of an unknown user
        return None
    if Path(normal).is_absolute() and path_below(root, normal) is None:
        return None
    try:
        found = driver.resolve_path(normal)
    except (OSError, RuntimeError):  # a name that is too long, a loop of links
        return None
    return found if found is not None and path_below(root, found) is not None else None
