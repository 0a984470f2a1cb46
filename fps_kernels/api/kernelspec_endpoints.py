"""The endpoints about kernelspecs: what can be started, and its logos."""

from __future__ import annotations

import asyncio
import os

from starlette.responses import FileResponse, Response

from ..kernel_driver.kernelspec import Kernelspecs
from .responses import json_response


class KernelspecEndpoints:
    """`/api/kernelspecs`, and the files of kernelspecs below `/kernelspecs`."""

    def __init__(self, specs: Kernelspecs) -> None:
        self._specs = specs

    async def all(self) -> Response:
        return json_response(await self._specs.list_all())

    async def one(self, name: str) -> Response:
        return json_response(await self._specs.run(self._specs.model, name))

    async def resource(self, name: str, file: str) -> Response:
        path = await self._specs.run(self._specs.resource, name, file)
        return FileResponse(path, stat_result=await asyncio.to_thread(os.stat, path))
