"""The way of a request through a notebook: match, read, assign, run, reply.

Each stage is a module that takes what the one before it has made:

    match    endpoint_route          path and verb          -> Endpoint and parameters
    read     request.body_reader     Endpoint and request   -> body
    assign   request.assignment      body and parameters    -> Assignment: code that sets REQUEST
    run      endpoint_run            Assignment and worker  -> CellOutputs
    reply    response.reply          CellOutputs            -> Reply, as a response

A response that is streamed is sent while its cell runs: response.streamed_reply is both of the last stages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.responses import error_response
from ..errors import FPSKernelsError, ServerStopping
from .bounds import Bounds
from .deadline import ClientDisconnected, RequestDeadline
from .endpoint_run import run_cell, run_endpoint
from .parsing.endpoints import Endpoint
from .pool import KernelPool
from .request.assignment import assign
from .request.body_reader import BodyReader
from .response.http_response import failure_response, http_response
from .response.reply import head_reply, respond
from .response.stream_formats import stream_for
from .response.streamed_reply import StreamedReply
from .worker import OnOutput

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""The status for a client that has disconnected, after nginx. It is never received, but may be logged."""


class Pipeline:
    """Answers the requests that were matched with an endpoint.

    language: the language of the kernels.
    timeout_s: seconds that a request may take, with its wait for a kernel; 0 for no limit.
    """

    def __init__(self, pool: KernelPool, language: str, timeout_s: float, bounds: Bounds) -> None:
        self._pool = pool
        self._language = language
        self._timeout_s = timeout_s
        self._bounds = bounds
        self._bodies = BodyReader(bounds.max_body_bytes, bounds.max_bodies_bytes)
        self._draining = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(
        self, endpoint: Endpoint, parameters: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        if self._draining:
            await failure_response(ServerStopping())(scope, receive, send)
            return
        self._under_way += 1
        self._idle.clear()
        try:
            response = await self._answer(endpoint, parameters, Request(scope, receive))
            await response(scope, receive, send)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, endpoint: Endpoint, parameters: Mapping[str, str], request: Request) -> ASGIApp:
        accept = ", ".join(request.headers.getlist("accept")) or None
        stream = None if request.method == "HEAD" else stream_for(accept, declared=endpoint.stream)
        deadline = RequestDeadline(request, self._timeout_s)
        try:
            async with self._bodies.read(request, deadline) as body:
                assignment = await assign(self._language, request.scope, parameters, body)
                worker = await deadline.wait_for(self._pool.acquire())
                if stream is not None:

                    async def run(on_output: OnOutput) -> dict[str, Any]:
                        with self._pool.releasing(worker):
                            return await deadline.wait_for(run_cell(worker, assignment, endpoint.source, on_output))

                    return StreamedReply(run, stream, deadline, self._bounds)
                with self._pool.releasing(worker):
                    outputs, info = await deadline.wait_for(run_endpoint(worker, assignment, endpoint))
            reply = respond(outputs, info, accept)
            if request.method == "HEAD":
                reply = head_reply(reply, of_get=endpoint.verb == "GET")
            return http_response(reply)
        except (ClientDisconnected, ClientDisconnect):
            logger.info("%s %s: the client has gone", request.method, request.url.path)
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except TimeoutError:
            return error_response(504, f"No answer within {self._timeout_s:g} s")
        except FPSKernelsError as exc:
            return failure_response(exc)

    async def drain(self) -> None:
        """Refuse new requests, and wait until those under way have been answered."""
        self._draining = True
        await self._idle.wait()
