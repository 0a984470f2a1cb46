"""Assign: have a kernel set REQUEST.

A short text is a literal in the code. Kernels need up to a second for each MiB of that, and more where they look into
their source with care, as IPython does. So a long text is data: a file that the code reads.

Why a file, and not one of the other ways for data to a kernel: only ipykernel shows its code the buffers of a message,
and `user_expressions` are source, too, which many kernels ignore. Every language can read a file. A kernel on another
machine cannot: it says so, and gets the text in pieces, each as a literal that is added to the variable. That takes the
time of its source, but arrives everywhere.
"""

from __future__ import annotations

import asyncio
import logging

from ...errors import FPSKernelsError
from ..worker import Worker, ignore_output
from .literals import Language
from .request_text import SHORT_CHARS, RequestText

logger = logging.getLogger(__name__)

NAME = "REQUEST"
"""The name of the variable."""


class _NotAssigned(FPSKernelsError):
    """The kernel reports an error for code that sets the variable."""


async def assign(worker: Worker, language: Language, request: RequestText) -> None:
    """Set REQUEST in a kernel; the request's text is released then, however this ends.

    Raises KernelDied, KernelRestarted, FPSKernelsError.
    """
    try:
        if request.path is None:
            await _run_declared(worker, language, language.assign(NAME, request.text))
            return
        path = str(request.path)
        if worker.reads_files and path.isascii() and path.isprintable():  # else it could not be a literal
            try:
                await _run_declared(worker, language, language.read(NAME, path))
                return
            except _NotAssigned as exc:
                worker.reads_files = False
                logger.info("kernel %s gets long requests in pieces: %s", worker.kernel.id, exc.message)
        await _run_declared(worker, language, language.assign(NAME, ""))
        pieces = request.read(SHORT_CHARS)
        while piece := await asyncio.to_thread(next, pieces, ""):
            await _run(worker, language.append(NAME, piece))
    finally:
        request.release()


async def _run_declared(worker: Worker, language: Language, code: str) -> None:
    """Run code that sets the variable; if it fails, once more after its declaration. Raises _NotAssigned."""
    try:
        await _run(worker, code)
    except _NotAssigned:
        if not (declaration := language.declare(NAME)):
            raise
        await worker.run(declaration, ignore_output, silent=True)
        await _run(worker, code)


async def _run(worker: Worker, code: str) -> None:
    """Raises _NotAssigned."""
    reply = await worker.run(code, ignore_output, silent=True)
    if reply.get("status") != "ok":
        raise _NotAssigned(f"REQUEST cannot be assigned: {reply.get('ename')}: {reply.get('evalue')}")
