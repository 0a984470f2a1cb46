"""A personality for fps-kernels: an API of one route, which evaluates expressions on one kernel.

PYTHONPATH=docs/examples fps-kernels --api=evaluator
curl http://127.0.0.1:8888/evaluate --json '{"expression": "6 * 7"}'
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException

from fps_kernels.gateway.personality_loader import Personality


class Evaluator(Personality):
    async def init_configurables(self) -> None:
        self.kernel = await self.parent.kernels.registry.start()

    def create_request_handlers(self) -> APIRouter:
        router = APIRouter()

        @router.post("/evaluate")
        async def evaluate(expression: Annotated[str, Body(embed=True)]) -> Any:
            client = self.parent.kernels.get_client(self.kernel.id)
            content = {"code": "", "silent": True, "user_expressions": {"value": expression}}
            reply = await client.request("shell", "execute_request", content, timeout_s=10)
            value = reply.content["user_expressions"]["value"]
            if value["status"] == "error":
                raise HTTPException(400, f"{value['ename']}: {value['evalue']}")
            return {"value": value["data"]["text/plain"]}

        return router

    def should_seed_cell(self, code: str) -> bool:
        return not code.startswith("# not for the evaluator")

    async def shutdown(self) -> None:
        print("The evaluator has shut down", flush=True)


def create_personality(parent: Any) -> Evaluator:
    return Evaluator(parent=parent)
