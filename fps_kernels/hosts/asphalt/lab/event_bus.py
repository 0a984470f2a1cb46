"""`/api/events`: what extensions tell each other of, in the form of Jupyter Server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from ....api.json_body import read_body
from ....errors import InvalidBody
from ....json_model import decode
from ....serving.access.credentials import TOKEN_PROTOCOL
from ....tasks import cancel_and_wait

if TYPE_CHECKING:
    from jupyter_events import EventLogger

logger = logging.getLogger(__name__)

MAX_WAITING = 100
"""Events that wait for a subscriber. One that lets more come is disconnected, and may subscribe again."""
MAX_SUBSCRIBERS = 1_000
TOO_SLOW = 1013
"""The code of a WebSocket that is closed for now ("try again later")."""
TIMESTAMP = "%Y-%m-%dT%H:%M:%S%zZ"


class EventBus:
    """The events that clients send, and those who listen to them.

    An event has to be of a schema that Jupyter Server knows. The package that checks it is imported when the first one
    comes, as it takes long and most servers see none.
    """

    def __init__(self) -> None:
        self._subscribers: set[asyncio.Queue[str | None]] = set()
        self._logger: EventLogger | None = None

    async def post(self, request: Request) -> Response:
        """Raises InvalidBody for what is no event of a known schema."""
        event = decode(await read_body(request))
        if not isinstance(event, dict):
            raise InvalidBody("No JSON data provided")
        for key in ("schema_id", "version", "data"):
            if key not in event:
                raise InvalidBody(f"Missing `{key}` in the JSON request body.")
        if self._logger is None:
            self._logger = await asyncio.to_thread(_make_logger)
        try:
            schema = self._logger.schemas.get(event["schema_id"])
            if str(schema.version) != str(event["version"]):
                raise InvalidBody(f"Unregistered version: {str(event['version'])[:100]!r}≠{schema.version!r}")
            schema.validate(event["data"])
        except InvalidBody:
            raise
        except Exception as exc:  # of the package, or of a value that it does not expect
            raise InvalidBody(str(exc)[:1000]) from exc
        self.emit(event["schema_id"], str(schema.version), event["data"], _timestamp(event))
        return Response(status_code=204)

    def emit(self, schema_id: str, version: str, data: dict[str, Any], timestamp: datetime) -> None:
        """Tell all subscribers of an event."""
        text = json.dumps(
            {
                "schema_id": schema_id,
                "__timestamp__": timestamp.isoformat().replace("+00:00", "Z"),
                "__schema__": schema_id,
                "__schema_version__": version,
                "__metadata_version__": 1,
                **data,
            }
        )
        for events in self._subscribers:
            if events.qsize() < MAX_WAITING:
                events.put_nowait(text)
            elif events.qsize() == MAX_WAITING:
                events.put_nowait(None)

    async def subscribe(self, websocket: WebSocket) -> None:
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            await websocket.close(TOO_SLOW)
            return
        offered = websocket.scope["subprotocols"]
        await websocket.accept(TOKEN_PROTOCOL if TOKEN_PROTOCOL in offered else None)
        events: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING + 1)
        self._subscribers.add(events)
        leaving = asyncio.create_task(_until_left(websocket), name="subscriber of events")
        sending = asyncio.create_task(_send_all(websocket, events), name="events")
        try:
            await asyncio.wait([leaving, sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._subscribers.discard(events)
            await cancel_and_wait(leaving, sending)


async def _until_left(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        continue  # what subscribers say has no meaning


async def _send_all(websocket: WebSocket, events: asyncio.Queue[str | None]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while (text := await events.get()) is not None:
            await websocket.send_text(text)
        await websocket.close(TOO_SLOW, "too many events wait for you")


def _make_logger() -> EventLogger:
    """What knows the schemas of Jupyter Server."""
    import jupyter_server
    from jupyter_events import EventLogger

    made = EventLogger()
    for path in sorted((Path(jupyter_server.__file__).parent / "event_schemas").glob("*/*.yaml")):
        made.register_event_schema(path)
    return made


def _timestamp(event: dict[str, Any]) -> datetime:
    """When an event was; now, if it does not say so. Raises InvalidBody."""
    if "timestamp" not in event:
        return datetime.now(UTC)
    try:
        return datetime.strptime(event["timestamp"], TIMESTAMP)
    except (TypeError, ValueError) as exc:
        raise InvalidBody("timestamp should be like 2022-05-26T13:50:00+05:00Z") from exc
