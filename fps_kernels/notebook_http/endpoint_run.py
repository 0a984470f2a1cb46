"""Run: the cells of an endpoint, on a kernel of the pool."""

from __future__ import annotations

from typing import Any

from ..errors import FPSKernelsError
from .parsing.endpoints import Endpoint
from .request.assignment import Assignment
from .response.cell_outputs import CellOutputs
from .worker import OnOutput, Worker, ignore_output


async def run_endpoint(
    worker: Worker, assignment: Assignment, endpoint: Endpoint
) -> tuple[CellOutputs, CellOutputs | None]:
    """Run the cell of an endpoint and then its ResponseInfo, unless there is none or the cell fails.

    Returns what each has put out. Raises KernelDied, KernelRestarted, FPSKernelsError.
    """
    outputs = CellOutputs()
    outputs.reply(await run_cell(worker, assignment, endpoint.source, outputs.add))
    if endpoint.response_info is None or outputs.failure is not None:
        return outputs, None
    info = CellOutputs()
    info.reply(await worker.run(endpoint.response_info, info.add))
    return outputs, info


async def run_cell(worker: Worker, assignment: Assignment, source: str, on_output: OnOutput) -> dict[str, Any]:
    """Assign REQUEST and run a cell; returns the content of the cell's execute_reply.

    The cell is sent after the reply to the assignment: should that fail, the cell would run with the REQUEST of
    another client. Raises KernelDied, KernelRestarted, FPSKernelsError.
    """
    reply = await worker.run(assignment.code, ignore_output, silent=True)
    if reply.get("status") != "ok" and assignment.declaration:
        await worker.run(assignment.declaration, ignore_output, silent=True)
        reply = await worker.run(assignment.code, ignore_output, silent=True)
    if reply.get("status") != "ok":
        raise FPSKernelsError(f"REQUEST cannot be assigned: {reply.get('ename')}: {reply.get('evalue')}")
    return await worker.run(source, on_output)
