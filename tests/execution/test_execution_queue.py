"""The queue of cells of one kernel, in the test's own process: what it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from fps_yjs.ydocs.ynotebook import YNotebook

from fps_kernels.execution.cell_execution import Execution
from fps_kernels.execution.execution_request import ExecutionRequest
from fps_kernels.execution.fps_yjs.fps_yjs_documents import FpsYjsDocuments
from fps_kernels.execution.queue import ExecutionQueue, QueueLimits

from ..support.drivers import Drivers
from ..support.notebooks import notebook
from ..support.waits import until

DISPLAY = """
publish("display_data", {"data": {"text/plain": "x" * 2000}, "metadata": {}, "transient": {"display_id": "a"}})
"""


class Yjs:
    """A Yjs plugin that knows one document, and cannot keep it open or save it."""

    def __init__(self, document: YNotebook) -> None:
        self._document = document

    def get_document(self, name: str) -> YNotebook:
        if name != "nb":
            raise KeyError(name)
        return self._document


async def test_old_outputs_are_let_go_though_their_request_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = YNotebook()
    document.source = notebook(DISPLAY, DISPLAY, DISPLAY)
    async with Drivers(tmp_path, monkeypatch) as kernels:
        driver = await kernels.start()
        documents = FpsYjsDocuments(Yjs(document))
        queue = ExecutionQueue(driver.client, documents, lambda channel, frames: None, QueueLimits(late_bytes=3000))
        requests = []
        for cell_id in ("0", "1", "2"):
            found = documents.find("nb", cell_id, None)
            execution = Execution(found, cell_id, found.code(cell_id))
            requests.append(ExecutionRequest(cell_id, found, [execution], single=True))
            queue.submit(requests[-1])
            await until(lambda: requests[-1].ended)
        sizes = [request.executions[0].outputs.size for request in requests]
        assert sizes[0] == 0
        assert 0 < sum(sizes) <= 3000 + 3000
        assert [len(cell["outputs"]) for cell in document.ycells] == [1, 1, 1]
        assert queue.request_model("0")["cells"][0]["execution_count"] == 1
        await queue.close()
