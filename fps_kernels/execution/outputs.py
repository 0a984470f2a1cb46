"""The outputs of one execution, and the smallest change that brings a document up to date. Pure.

The form of a change follows from what front ends can do with a shared document: JupyterLab applies every change of text
to the last output, and puts every inserted output at the end. So a change keeps the first outputs, edits the end of the
text of the last of these, and then inserts all others.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from .terminal import StreamText

Output = dict[str, Any]
"""An output as in the notebook format, with the text of a stream as one string."""

NOTICE = "\n[... the middle of this output was left out: it was too long ...]\n"
"""What stands in the place of outputs that were left out."""


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """The bounds of the outputs of one cell.

    max_text_chars: the text of one stream and, when a new output comes, of all streams together.
    max_outputs: the number of outputs.
    max_bytes: the size of the other outputs, as JSON.
    """

    max_text_chars: int = 4 * 1024 * 1024
    max_outputs: int = 1_000
    max_bytes: int = 64 * 1024 * 1024


UNLIMITED = OutputLimits(sys.maxsize, sys.maxsize, sys.maxsize)
"""No bounds, for outputs that no page has to show while they come."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the outputs in a document.

    keep: the number of outputs of this execution that stay; the others are removed.
    delete, append: the UTF-8 bytes to delete at the end of the text of the last one that stays, and the text to append.
    insert: the outputs to insert after it.
    """

    keep: int = 0
    delete: int = 0
    append: str = ""
    insert: list[Output] = field(default_factory=list)


class _Stream:
    """An output of text: adjacent stream messages of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = StreamText()
        self.display_id = None
        self.size = 0
        self.written = False

    def as_output(self) -> Output:
        self.text.take_edit()  # the text is taken as a whole
        return {"output_type": "stream", "name": self.name, "text": str(self.text)}


class _Rich:
    """Any other output. size: its size in bytes, about."""

    def __init__(self, output: Output, size: int, display_id: str | None = None) -> None:
        self.output = output
        self.size = size
        self.display_id = display_id
        self.written = False

    def as_output(self) -> Output:
        return self.output


class Outputs:
    """The outputs of an execution so far.

    pending_chars: the stream text since the last change was taken, in characters.
    base: the number of outputs in the document that are not of this execution; they come first.
    written: the number of outputs of this execution in the document.
    text_bytes: the length of the text of the last one, in UTF-8 bytes, if it is a stream.
    """

    def __init__(self, limits: OutputLimits | None = None) -> None:
        self.pending_chars = 0
        self.written = 0
        self.base = 0
        self.text_bytes: int | None = None
        self._limits = limits or OutputLimits()
        self._items: list[_Stream | _Rich] = []
        self._valid = 0  # how many of them the document has, except for the end of the last one's text
        self._changed = False
        self._clear_next = False

    @property
    def changed(self) -> bool:
        """Whether there is a change to take."""
        return self._changed

    @property
    def size(self) -> int:
        """The size of what is kept here, in characters and bytes."""
        return sum(len(item.text) if isinstance(item, _Stream) else item.size for item in self._items)

    @property
    def display_ids(self) -> set[str]:
        return {item.display_id for item in self._items if item.display_id is not None}

    def stream(self, name: str, text: str) -> None:
        self._clear_if_pending()
        last = self._items[-1] if self._items else None
        if not isinstance(last, _Stream) or last.name != name:
            last = _Stream(name)
            self._append(last)
        last.text.write(text)
        self._cut_text(last)
        self.pending_chars += len(text)
        self._changed = True

    def add(self, output: Output, size: int = 0, display_id: str | None = None) -> None:
        """Add an output that is not a stream. size: its size in bytes, about."""
        self._clear_if_pending()
        self._append(_Rich(output, size, display_id))
        self._changed = True

    def clear(self, *, wait: bool = False) -> None:
        """Remove all outputs. wait: not before the next output comes."""
        if wait:
            self._clear_next = True
            return
        self._clear_next = False
        self._items.clear()
        self._valid = 0
        self._changed = True

    def _clear_if_pending(self) -> None:
        if self._clear_next:
            self.clear()

    def update_display(self, display_id: str, data: Any, metadata: Any, size: int = 0) -> bool:
        """Update the outputs with a display_id; returns whether there are any."""
        found = False
        for number, item in enumerate(self._items):
            if isinstance(item, _Rich) and item.display_id == display_id:
                item.output = {**item.output, "data": data, "metadata": metadata}
                item.size = size
                self._valid = min(self._valid, number)
                self._changed = found = True
        return found

    def take(self) -> Change:
        """The change that brings the document up to date. It must be applied."""
        keep = self._valid
        delete, append = 0, ""
        if keep and keep == self.written:
            last = self._items[keep - 1]
            if isinstance(last, _Stream):
                delete, append = last.text.take_edit()
        insert = [item.as_output() for item in self._items[keep:]]
        for item in self._items[keep:]:
            item.written = True
        if not self._items or not isinstance(self._items[-1], _Stream):
            self.text_bytes = None
        elif insert:
            self.text_bytes = len(insert[-1]["text"].encode())
        elif self.text_bytes is not None:
            self.text_bytes += len(append.encode()) - delete
        self.written = self._valid = len(self._items)
        self.pending_chars = 0
        self._changed = False
        return Change(keep, delete, append, insert)

    def snapshot(self) -> list[Output]:
        """All outputs as they are now, for where there is no document: nothing is noted as taken."""
        return [item.as_output() for item in self._items]

    def write_anew(self) -> None:
        """Start over: the document was replaced (for example reloaded from disk) and has lost our outputs."""
        self.base = self.written = self._valid = 0
        self.text_bytes = None
        for item in self._items:
            item.written = False
        self._changed = bool(self._items)

    def forget_written(self, base: int) -> None:
        """Give up the outputs in the document, which a user has changed. base: their number."""
        self.base = base
        # Not the first `written` items: since then, some may have been cleared, or left out.
        last = next((item for item in reversed(self._items) if item.written), None)
        self._items = [item for item in self._items if not item.written]
        self.written = self._valid = 0
        self.text_bytes = None
        if isinstance(last, _Stream):
            text = last.text.take_edit()[1]
            if text:  # the document does not have it yet
                rest = _Stream(last.name)
                rest.text.write(text)
                self._items.insert(0, rest)

    def drop_settled(self) -> None:
        """Drop the written outputs that cannot change any more, after the end of the execution.

        The text at the end can change, and so can a display, after which all outputs would be inserted again.
        """
        first = next((number for number, item in enumerate(self._items) if item.display_id is not None), None)
        number = min(self.written - 1 if first is None else first, self.written - 1)
        if number > 0:
            del self._items[:number]
            self.base += number
            self.written -= number
            self._valid = max(0, self._valid - number)

    def _cut_text(self, stream: _Stream) -> None:
        limit = self._limits.max_text_chars
        if len(stream.text) > limit:
            stream.text.cut(limit // 4, limit // 4, NOTICE)
            self._valid = min(self._valid, len(self._items) - 1)

    def _append(self, item: _Stream | _Rich) -> None:
        limits = self._limits
        if len(self._items) >= 4 and limits is not UNLIMITED:  # to add up thousands of them takes long
            text = sum(len(item.text) for item in self._items if isinstance(item, _Stream))
            size = sum(item.size for item in self._items) + item.size
            if len(self._items) >= limits.max_outputs or text > limits.max_text_chars or size > limits.max_bytes:
                self._leave_out_middle()
        self._items.append(item)

    def _leave_out_middle(self) -> None:
        """Keep the first and the last quarter, with a display between them: streams could be merged with a stream."""
        quarter = max(1, len(self._items) // 4)
        notice = {"output_type": "display_data", "data": {"text/plain": NOTICE.strip()}, "metadata": {}}
        self._items[quarter:-quarter] = [_Rich(notice, 0)]
        self._valid = min(self._valid, quarter)
