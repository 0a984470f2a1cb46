"""Background tasks with an owner."""

from __future__ import annotations

import asyncio
import gc

import pytest

from fps_kernels.tasks import TaskSet, cancel_and_wait


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("on purpose")


async def test_a_task_that_has_ended_is_not_kept() -> None:
    tasks = TaskSet()
    task = tasks.start(asyncio.sleep(0, "result"), name="short")
    assert list(tasks) == [task]
    assert await task == "result"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_failure_is_logged_with_the_name_of_the_task(caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskSet()
    tasks.start(fail(), name="failing task")
    await tasks.join()
    [record] = caplog.records
    assert record.getMessage() == "failing task failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_failure_that_somebody_awaits_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    task = TaskSet().start(fail(), name="awaited", log_failure=False)
    with pytest.raises(ValueError, match="on purpose"):
        await task
    assert not caplog.records


async def test_a_failure_that_nobody_asks_for_is_not_logged_either(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()
    task = TaskSet().start(fail(), name="forgotten", log_failure=False)
    task.add_done_callback(lambda _: ended.set())  # join() would look at the failure
    del task
    await ended.wait()
    gc.collect(1)  # the youngest are enough
    assert caplog.text == ""


async def test_join_waits_for_tasks_that_are_started_meanwhile() -> None:
    tasks = TaskSet()
    ended = []

    async def second() -> None:
        await asyncio.sleep(0)
        ended.append("second")

    async def first() -> None:
        tasks.start(second(), name="second")
        ended.append("first")

    tasks.start(first(), name="first")
    await tasks.join()
    assert ended == ["first", "second"]


async def test_close_cancels_what_still_runs(caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskSet()
    task = tasks.start(forever(), name="forever")
    await tasks.close()
    await tasks.close()
    assert task.cancelled()
    assert not caplog.records


async def test_close_ends_a_task_that_does_not_end_at_the_first_cancellation() -> None:
    tasks = TaskSet()
    cleaned = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    tasks.start(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    await tasks.close()
    assert cleaned.is_set()
    assert len(tasks) == 0


async def test_cancelling_skips_what_is_not_there_and_hides_what_has_failed() -> None:
    failed = asyncio.create_task(fail(), name="failed")
    running = asyncio.create_task(forever(), name="running")
    await asyncio.sleep(0)
    await cancel_and_wait(failed, None, running)
    assert failed.done()
    assert running.cancelled()


@pytest.mark.parametrize("end", ["join", "close"])
async def test_a_task_that_has_just_ended_is_not_waited_for(end: str) -> None:
    """Its callbacks are yet to come, and Python 3.12 does not let the loop turn to wait for what is done."""
    tasks = TaskSet()
    task = tasks.start(asyncio.sleep(0), name="short")
    while not task.done():  # noqa: ASYNC110 - every turn counts
        await asyncio.sleep(0)
    assert len(tasks) == 1
    await getattr(tasks, end)()
    assert len(tasks) == 0
