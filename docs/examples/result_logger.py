"""A Jupyverse plugin that logs the result of every cell that any client executes on any kernel.

In its pyproject.toml, it is a component of Jupyverse:

    [project.entry-points."asphalt.components"]
    result_logger = "result_logger:ResultLogger"

    [project.entry-points."jupyverse.components"]
    result_logger = "result_logger:ResultLogger"
"""

import json
import logging

from asphalt.core import Component, Context
from jupyverse_api.kernels import Kernels

logger = logging.getLogger("result_logger")


class ResultLogger(Component):
    async def start(self, ctx: Context) -> None:
        kernels = await ctx.request_resource(Kernels)

        def on_kernel(kernel_id: str) -> None:
            def on_message(channel: str, frames: list[bytes]) -> None:
                _header, _parent_header, _metadata, content, *_buffers = frames
                logger.info("kernel %s: %s", kernel_id, json.loads(content)["data"].get("text/plain"))

            kernels.get_client(kernel_id).add_listener(on_message, ["execute_result"])

        kernels.watch_kernels(on_kernel)
