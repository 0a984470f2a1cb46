"""Outputs of cells, as in a file."""

from __future__ import annotations

from .messages import Json


def stream(text: str, name: str = "stdout") -> Json:
    """A stream output as in a document."""
    return {"output_type": "stream", "name": name, "text": text}


def merged(outputs: list[Json]) -> list[Json]:
    """With adjacent streams of one name as one, as they are shown: a kernel may cut anywhere, a `print` in two."""
    done: list[Json] = []
    for output in outputs:
        if done and output["output_type"] == "stream" and done[-1].get("name") == output["name"]:
            done[-1] = {**done[-1], "text": done[-1]["text"] + output["text"]}
        else:
            done.append(output)
    return done


OTHER = {"output_type": "stream", "name": "stdout", "text": "of the other cell"}


def display(text: str) -> Json:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}
