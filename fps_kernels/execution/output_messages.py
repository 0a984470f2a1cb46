"""The kernel's messages about outputs, as outputs of the notebook format. Pure."""

from __future__ import annotations

from typing import Any

from ..kernel_driver.message import Message
from .outputs import Output, Outputs

OUTPUT_TYPES = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})
"""Messages that change the outputs of what causes them: a cell, or a widget that captures them."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer up to which all of JavaScript's numbers are exact."""


def take_output(outputs: Outputs, message: Message) -> None:
    """Change outputs as a message says whose type is one of OUTPUT_TYPES. Raises MalformedMessage."""
    content = message.content
    size = len(message.frames[3])
    match message.msg_type:
        case "stream":
            name, text = content.get("name"), content.get("text")
            if isinstance(name, str) and isinstance(text, str):
                outputs.stream(encodable(name), encodable(text))
        case "display_data" | "execute_result" as kind:
            output = {
                "output_type": kind,
                "data": content.get("data") or {},
                "metadata": content.get("metadata") or {},
            }
            if kind == "execute_result":
                output["execution_count"] = content.get("execution_count")
            outputs.add(encodable(output), size, display_id(content))
        case "error":
            error = error_output(content.get("ename"), content.get("evalue"), content.get("traceback"))
            outputs.add(encodable(error), size)
        case "clear_output":
            outputs.clear(wait=bool(content.get("wait")))


def error_output(ename: Any, evalue: Any, traceback: Any) -> Output:
    """An error as an output of the notebook format."""
    lines = [str(line) for line in traceback] if isinstance(traceback, list) else []
    return {"output_type": "error", "ename": str(ename), "evalue": str(evalue), "traceback": lines}


def display_id(content: dict[str, Any]) -> str | None:
    """The display_id that a message has, if any."""
    transient = content.get("transient")
    name = transient.get("display_id") if isinstance(transient, dict) else None
    return name if isinstance(name, str) and name else None


def encodable(value: Any) -> Any:
    """The value without what JSON can hold but a shared document cannot: pycrdt panics, and is unusable after that.

    Lone surrogates are replaced. Integers are only as exact as in JavaScript: pycrdt has none beyond 64 bits, and front
    ends cannot write those beyond 53 bits to a file.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace").decode()
        return value
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        try:
            return float(value)
        except OverflowError:
            return None  # infinity in JavaScript, which is null in a file
    if isinstance(value, dict):
        return {encodable(key): encodable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [encodable(one) for one in value]
    return value
