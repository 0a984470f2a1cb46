"""The formatter of our commands' log: what is logged by anybody is one line, without secrets, and safe to show."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fps_kernels.log_text import MAX_LINE_CHARS
from fps_kernels.serving import log_context, log_formats, logs
from fps_kernels.serving.redaction import Redaction

from ..support.cases import for_each

SECRET = "s3cr3t-T0KEN-of-the-log"
EVIL = f"x\n[root] ERROR forged\x1b[2J\u202e {SECRET}"
ANY = st.text(st.characters(codec=None), max_size=60)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_redaction", Redaction())
    logs.hide(SECRET)


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What is logged, by a root logger as the commands have it."""
    root, stream = logging.getLogger(), StringIO()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "stderr", stream)
    for name in ("uvicorn.error", "uvicorn.access"):  # what is configured here is for this test
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    level = root.level
    logs.configure(logging.DEBUG)
    yield stream
    root.setLevel(level)
    logging.captureWarnings(False)


def check(text: str, lines: int | None = 1) -> None:
    """It has so many lines, of which only the first begins a record; and nothing to obey, and no secret."""
    written = text.removesuffix("\n").split("\n")
    assert lines is None or len(written) == lines, text
    assert all(line.isprintable() for line in written), text
    assert all(line.startswith("  ") for line in written[1:]), text
    assert SECRET not in text


def formatted(message: Any, *args: Any, **fields: Any) -> str:
    record = logging.LogRecord("a.logger", logging.INFO, "path", 1, message, args, fields.pop("exc_info", None))
    record.__dict__.update(fields)
    format = log_formats.FORMAT + "".join(f" %({name})s" for name in fields if name not in ("exc_text", "stack_info"))
    return logs.SafeFormatter(logging.Formatter(format, log_formats.DATE_FORMAT)).format(record)


def without_time(line: str) -> str:
    """A line of the log, of which the time is known to have the right form."""
    found = re.fullmatch(r"(\[[A-Z]) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}( .*)", line)
    assert found, line
    return found[1] + found[2]


def test_a_usual_line_is_as_it_was() -> None:
    line = formatted("kernel %s (%s)", "an id", "python3")
    assert without_time(line) == "[I a.logger] kernel an id (python3)"


@given(ANY, ANY)
def test_any_message_is_one_line(message: str, argument: str) -> None:
    check(formatted("%s %s", message, argument))
    check(formatted(message, argument))  # which may not fit together
    check(formatted(message))


@for_each(
    ("message", "args"),
    [
        (EVIL, ()),
        ("%s", (EVIL,)),
        ("%r", (EVIL,)),
        ("%s", ([EVIL],)),
        ("%(a)s", ({"a": EVIL},)),
        ("%(authorization)s", ({"authorization": "token another"},)),
        ("%d", (EVIL,)),
        ("%s %s", (EVIL,)),
        (ValueError(EVIL), ()),
        ({"cookie": EVIL}, ()),
        (b"%s" + EVIL.encode(errors="replace"), ()),
    ],
)
def test_a_message_of_any_kind(message: Any, args: tuple[Any, ...]) -> None:
    line = formatted(message, *args)
    check(line)
    assert "another" not in line


def test_extra_fields_are_safe_for_any_format() -> None:
    line = formatted("x", user=EVIL, headers={"cookie": EVIL}, authorization="token another", number=5, none=None)
    check(line)
    assert "another" not in line
    assert line.endswith(" 5 None")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError(EVIL)


def test_what_cannot_be_a_string_is_said() -> None:
    check(formatted("x", user=Unprintable()))
    check(formatted("%s", Unprintable()))


def test_a_long_message_is_cut() -> None:
    line = formatted("y" * 10_000_000)
    assert len(line) < MAX_LINE_CHARS + 100
    assert line.endswith("more characters)")


def test_a_cut_shows_no_part_of_a_secret() -> None:
    for before in range(40):
        padding = "y" * (logs.MAX_TEXT_CHARS - before)
        line = formatted(padding + SECRET)
        assert SECRET[:5] not in line, before
        hidden = "q" * (MAX_LINE_CHARS - before) + SECRET + "y"
        assert SECRET[:8] not in formatted(hidden), before


def test_a_text_that_shrinks_shows_no_part_of_a_secret_at_its_end() -> None:
    secret = "0123456789abcdef" * 8
    logs.hide(secret)
    for before in range(0, 140, 7):
        line = formatted("-" * before + f"{secret} " * 1_000)
        assert secret[:6] not in line
        assert line.endswith("more characters)")


def raised(exc: BaseException) -> Any:
    try:
        raise exc
    except BaseException:
        return sys.exc_info()


def test_a_traceback_keeps_its_lines() -> None:
    text = formatted("failed", exc_info=raised(ValueError("why")))
    check(text, lines=None)
    lines = text.split("\n")
    assert without_time(lines[0]) == "[I a.logger] failed"
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[2].startswith('    File "')
    assert lines[-1] == "  ValueError: why"


def test_the_text_of_an_exception_is_one_line() -> None:
    text = formatted("failed", exc_info=raised(ValueError(EVIL)))
    check(text, lines=None)
    assert text.split("\n")[-1].startswith("  ValueError: x\\n[root] ERROR forged\\x1b[2J")


def chained() -> Exception:
    try:
        try:
            raise KeyError(EVIL)
        except KeyError as exc:
            raise ValueError(EVIL) from exc
    except ValueError as exc:
        exc.add_note(EVIL)
        return ExceptionGroup(EVIL, [exc, OSError(2, EVIL, EVIL), SyntaxError(EVIL, (EVIL, 1, 1, EVIL))])


@given(ANY)
def test_no_exception_forges_a_line(text: str) -> None:
    for exc in (
        ValueError(text),
        KeyError(text),
        SyntaxError(text, (text, 1, 1, text)),
        ExceptionGroup("x" + text, [OSError(text)]),
    ):
        exc.add_note(text)
        check(formatted(text, exc_info=raised(exc)), lines=None)


def test_chains_notes_and_groups() -> None:
    text = formatted("failed", exc_info=raised(chained()))
    check(text, lines=None)
    assert "direct cause" in text


def test_a_traceback_of_another_formatter_is_not_believed() -> None:
    check(formatted("failed", exc_text=f"Traceback\n{EVIL}"), lines=None)
    check(formatted("failed", stack_info=f"Stack\n{EVIL}"), lines=None)


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    text = formatted("failed", exc_text="\n".join(f"line {number}" for number in range(100_000)))
    lines = text.split("\n")
    assert len(lines) < logs.MAX_TRACEBACK_LINES + 3
    assert lines[1] == "  line 0"
    assert lines[-1] == "  line 99999"


def test_the_record_itself_is_left_alone() -> None:
    record = logging.LogRecord("a", logging.INFO, "path", 1, "%s", (EVIL,), None)
    before = dict(record.__dict__)
    logs.SafeFormatter(logging.Formatter()).format(record)
    assert record.__dict__ == before


def test_any_logger_and_any_thread(out: StringIO) -> None:
    def log() -> None:
        logging.getLogger("somebody.else").debug("%s", EVIL)

    thread = threading.Thread(target=log, name=EVIL)
    thread.start()
    thread.join()
    check(out.getvalue())
    assert " somebody.else] x\\n" in out.getvalue()


def test_warnings_are_records(out: StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn_explicit(EVIL, UserWarning, "a file", 1)
    check(out.getvalue())
    assert " py.warnings] a file:1: UserWarning: x\\n" in out.getvalue()


def test_a_logger_with_a_handler_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a Jupyter application."""
    stream = StringIO()
    logger = logging.getLogger("an application of these tests")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[app] %(message)s"))
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    logs.configure(logging.getLogger().level)
    logging.captureWarnings(False)
    logger.error("%s", EVIL)
    check(stream.getvalue())
    assert stream.getvalue().startswith("[app] x\\n")


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What is logged where a host has made the handlers."""
    root, package, stream = logging.getLogger(), logging.getLogger("fps_kernels"), StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[host] %(message)s"))
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(package, "handlers", [])
    logs.sanitize_package()
    logs.sanitize_package()
    assert len(package.handlers) == 1
    return stream


def test_our_own_records_are_safe_under_any_handler(foreign: StringIO) -> None:
    logger = logging.getLogger("fps_kernels.a.module")
    logger.error("%s", EVIL)
    check(foreign.getvalue())
    assert foreign.getvalue().startswith("[host] x\\n")
    logger.error("failed", exc_info=raised(ValueError(EVIL)))
    check(foreign.getvalue().split("\n", 1)[1], lines=None)


def test_without_a_handler_our_warnings_are_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("fps_kernels"), "handlers", [])
    logs.sanitize_package()
    logging.getLogger("fps_kernels.a.module").warning("%s", EVIL)
    check(stream.getvalue())


def test_nothing_is_done_twice(out: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fps-kernels lab` is a command of ours and a host of the component."""
    package = logging.getLogger("fps_kernels")
    monkeypatch.setattr(package, "handlers", [])
    logs.sanitize_package()
    assert package.handlers == []


@pytest.mark.parametrize(
    ("message", "args", "about"),
    [
        ("kernel %s (%s) launched, pid %s", ("k", "python3", 1), {"kernel_id": "k", "kernelspec": "python3"}),
        ("a %s of kernel %s", ("b", "k"), {"kernel_id": "k"}),
        ("%d %% of kernel %s (%s)", (5, "k", "ir"), {"kernel_id": "k", "kernelspec": "ir"}),
        ("kernel %s", (), {}),
        ("%s", ("kernel %s",), {}),
        ("kernel %(id)s", ({"id": "k"},), {}),
    ],
)
def test_a_message_says_which_kernel_it_is_about(message: str, args: tuple[Any, ...], about: dict[str, str]) -> None:
    record = logging.LogRecord("fps_kernels.x", logging.INFO, "path", 1, message, args, None)
    assert log_context.ContextFilter().filter(record)
    assert {name: value for name, value in vars(record).items() if name in ("kernel_id", "kernelspec")} == about


def test_a_line_of_json_has_traceback_and_fields_and_no_secret() -> None:
    logs.hide(SECRET)
    try:
        raise ValueError(f"{SECRET}\n{{}}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "p", 1, "failed: %s", (SECRET,), sys.exc_info())
    record.__dict__.update(event="died", duration_s=1.5, odd={SECRET: object()})
    line = logs.SafeFormatter(log_formats.JSONFormatter()).format(record)
    assert "\n" not in line
    assert SECRET not in line
    found = json.loads(line)
    assert (found["level"], found["event"], found["duration_s"]) == ("ERROR", "died", 1.5)
    assert "ValueError" in found["traceback"]
    assert found.keys() == {"time", "level", "logger", "message", "event", "duration_s", "odd", "traceback"}


@pytest.mark.parametrize(("level", "colour"), [(logging.ERROR, 31), (logging.WARNING, 33), (logging.INFO, 32)])
def test_the_head_of_a_line_has_the_colour_of_its_level(level: int, colour: int) -> None:
    record = logging.LogRecord("x", level, "p", 1, "all [well]", (), None)
    plain = logging.Formatter(log_formats.FORMAT, log_formats.DATE_FORMAT).format(record)
    head, _, rest = plain.partition("]")
    coloured = log_formats.ColourFormatter(log_formats.FORMAT, log_formats.DATE_FORMAT).format(record)
    assert coloured == f"\x1b[{colour}m{head}]\x1b[0m{rest}"


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_only_terminals_that_want_colours_have_them(terminal: bool, environ: dict[str, str], coloured: bool) -> None:
    class Stream(StringIO):
        def isatty(self) -> bool:
            return terminal

    assert log_formats.is_coloured(Stream(), environ) is coloured
