"""Server-sent events."""

from __future__ import annotations


def parse_events(data: bytes) -> list[tuple[str, str]]:
    """(type, data) of each event, by the algorithm of the HTML standard."""
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    events: list[tuple[str, str]] = []
    kind, lines = "", list[str]()
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if lines:
                events.append((kind or "message", "\n".join(lines)))
            kind, lines = "", []
        elif name == "data":
            lines.append(value)
        elif name == "event":
            kind = value
    return events
