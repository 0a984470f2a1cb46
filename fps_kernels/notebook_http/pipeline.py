"""The way of a request through a notebook: match, read, assign, run, reply.

Each stage is a module that takes what the one before it has made:

    match    endpoint_route          path and verb          -> Endpoint and parameters
    read     request.body_reader     Endpoint and request   -> Body
    convert  request.request_text    Body and parameters    -> RequestText: the text of REQUEST
    run      endpoint_run            RequestText and worker -> CellOutputs
    reply    response.reply          CellOutputs            -> Reply, as a response

A response that is streamed is sent while its cell runs: response.streamed_reply is both of the last stages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.responses import error_response
from ..errors import FPSKernelsError, ServerStopping
from ..kernels.kernel import Kernel
from .bounds import Bounds
from .deadline import ClientDisconnected, RequestDeadline
from .endpoint_run import run_cell, run_endpoint
from .parsing.endpoints import Endpoint
from .pool import KernelPool
from .request.body_reader import BodyReader
from .request.literals import Language
from .request.request_files import RequestFiles
from .request.request_limits import RequestLimits
from .request.request_text import Converter, RequestText
from .request_counts import RequestCounts
from .response.http_response import failure_response, http_response
from .response.refusal import Refusal
from .response.reply import head_reply, respond
from .response.stream_formats import stream_for
from .response.streamed_reply import StreamedReply
from .worker import OnOutput, Worker

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""The status for a client that has disconnected, after nginx. It is never received, but may be logged."""


class Pipeline:
    """Answers the requests that were matched with an endpoint.

    language_of: the language of a kernel. Raises FPSKernelsError.
    timeout_s: seconds that a request may take, with its wait for a kernel; 0 for no limit.

    counts: how requests were answered.
    """

    def __init__(
        self,
        pool: KernelPool,
        language_of: Callable[[Kernel], Language],
        files: RequestFiles,
        limits: RequestLimits,
        timeout_s: float,
        bounds: Bounds,
    ) -> None:
        self.counts = RequestCounts()
        self._pool = pool
        self._language_of = language_of
        self._timeout_s = timeout_s
        self._bounds = bounds
        self._bodies = BodyReader(limits.max_body_bytes, bounds)
        self._converter = Converter(files, limits)
        self._draining = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def bodies_bytes(self) -> int:
        """What the bodies of all requests under way count."""
        return self._bodies.total_bytes

    async def __call__(
        self, endpoint: Endpoint, parameters: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        if self._draining:
            await failure_response(ServerStopping())(scope, receive, send)
            return
        self._under_way += 1
        self._idle.clear()
        began = monotonic()
        status = CLIENT_CLOSED_REQUEST

        async def send_counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            response = await self._answer(endpoint, parameters, Request(scope, receive))
            await response(scope, receive, send_counted)
        finally:
            self.counts.count(scope["method"], endpoint.path, status, monotonic() - began)
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, endpoint: Endpoint, parameters: Mapping[str, str], request: Request) -> ASGIApp:
        accept = ", ".join(request.headers.getlist("accept")) or None
        stream = None if request.method == "HEAD" else stream_for(accept, declared=endpoint.stream)
        deadline = RequestDeadline(request, self._timeout_s)
        try:
            with contextlib.ExitStack() as held:
                try:
                    body = await self._bodies.read(request, deadline)
                except FPSKernelsError as exc:
                    return Refusal(failure_response(exc), self._bounds)
                held.callback(body.release)
                text = self._converter.short(request.scope, parameters, body)
                if text is None:
                    text = await deadline.wait_for(self._converter.long(request.scope, parameters, body))
                held.callback(text.release)
                waits_since = monotonic()
                worker = await deadline.wait_for(self._pool.acquire())
                self.counts.waits.observe(monotonic() - waits_since)
                if stream is not None:
                    run = partial(self._run_streamed, held.pop_all(), deadline, worker, text, endpoint.source)
                    return StreamedReply(run, stream, deadline, self._bounds)
                with self._pool.releasing(worker):
                    language = self._language_of(worker.kernel)
                    outputs, info = await deadline.wait_for(run_endpoint(worker, language, text, endpoint))
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

    async def _run_streamed(
        self,
        held: contextlib.ExitStack,
        deadline: RequestDeadline,
        worker: Worker,
        text: RequestText,
        source: str,
        on_output: OnOutput,
    ) -> dict[str, Any]:
        """Run a cell whose output is streamed. held: what to release at its end."""
        with held, self._pool.releasing(worker):
            language = self._language_of(worker.kernel)
            return await deadline.wait_for(run_cell(worker, language, text, source, on_output))

    async def drain(self) -> None:
        """Refuse new requests, and wait until those under way have been answered."""
        self._draining = True
        await self._idle.wait()
