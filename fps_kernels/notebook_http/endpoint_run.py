"""Run: the cells of an endpoint, on a kernel of the pool."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import IdleWithoutReply
from .parsing.endpoints import Endpoint
from .request.assignment import assign
from .request.literals import Language
from .request.request_text import RequestText
from .response.cell_outputs import CellOutputs
from .worker import OnOutput, Worker

logger = logging.getLogger(__name__)


async def run_endpoint(
    worker: Worker, language: Language, request: RequestText, endpoint: Endpoint
) -> tuple[CellOutputs, CellOutputs | None]:
    """Run the cell of an endpoint and then its ResponseInfo, unless there is none or the cell fails.

    Returns what each has put out. Raises KernelDied, KernelRestarted, FPSKernelsError.
    """
    outputs = CellOutputs()
    outputs.reply(await run_cell(worker, language, request, endpoint.source, outputs.add))
    if endpoint.response_info is None or outputs.failure is not None:
        return outputs, None
    info = CellOutputs()
    info.reply(await worker.run(endpoint.response_info, info.add))
    return outputs, info


async def run_cell(
    worker: Worker, language: Language, request: RequestText, source: str, on_output: OnOutput
) -> dict[str, Any]:
    """Assign REQUEST and run a cell; returns the content of the cell's execute_reply.

    The cell is sent after the reply to the assignment: should that fail, the cell would run with the REQUEST of
    another client. A cell that its kernel ends without a reply has ended as its outputs say.
    Raises KernelDied, KernelRestarted, FPSKernelsError.
    """
    await assign(worker, language, request)
    try:
        return await worker.run(source, on_output)
    except IdleWithoutReply:
        logger.warning("kernel %s ended a cell without a reply", worker.kernel.id)
        return {"status": "ok"}
