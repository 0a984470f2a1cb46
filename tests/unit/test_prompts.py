"""Who may answer what a kernel asks."""

from __future__ import annotations

from fps_kernels.kernel_driver.request_log import Request
from fps_kernels.kernel_server.client_session import ClientSession
from fps_kernels.kernel_server.inbox import Inbox
from fps_kernels.kernel_server.iopub_log import ReplayLimits
from fps_kernels.kernel_server.prompts import MAX_PROMPTS, Prompts


def session(session_id: str = "a", user: str = "") -> ClientSession:
    return ClientSession((user, session_id), Inbox(ReplayLimits()), 0, 0.0)


def cell(origin: object) -> Request:
    return Request("1", "shell", "execute_request", b"{}", origin)


def test_who_was_asked_answers_once() -> None:
    prompts, asked = Prompts(), session()
    prompts.ask(asked, cell(asked))
    assert not prompts.answer(session("b"))
    assert not prompts.answer(session("a", "another user"))
    assert prompts.answer(asked)
    assert not prompts.answer(asked)


def test_a_session_that_was_forgotten_meanwhile_may_still_answer() -> None:
    prompts, asked = Prompts(), session()
    prompts.ask(asked, cell(asked))
    assert prompts.answer(session())


def test_a_question_is_over_with_the_reply_of_its_cell() -> None:
    prompts, asked = Prompts(), session()
    request = cell(asked)
    prompts.ask(asked, request)
    request.replied = True
    assert not prompts.answer(asked)


def test_a_thread_may_ask_after_the_reply_of_its_cell() -> None:
    prompts, asked = Prompts(), session()
    request = cell(asked)
    request.replied = True
    prompts.ask(asked, request)
    assert prompts.answer(asked)


def test_what_a_kernel_asks_without_end_is_bounded() -> None:
    prompts, asked = Prompts(), session()
    for _ in range(MAX_PROMPTS + 5):
        prompts.ask(asked, cell(asked))
    answered = 0
    while prompts.answer(asked):
        answered += 1
    assert answered == MAX_PROMPTS


def test_nothing_is_waited_for_after_a_restart() -> None:
    prompts, asked = Prompts(), session()
    prompts.ask(asked, cell(asked))
    prompts.clear()
    assert not prompts.answer(asked)
