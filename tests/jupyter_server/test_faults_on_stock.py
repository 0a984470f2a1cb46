"""The tests of faults, and of odd and old kernels, on a stock Jupyter Server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ..server.test_faults import (  # noqa: F401
    test_a_fuzzer_at_the_websocket_hurts_only_itself,
    test_each_request_is_answered_once_while_kernels_are_killed,
    test_idle_is_heard_after_every_fault,
    test_sockets_that_are_reset_at_random_lose_no_reply,
)
from ..server.test_odd_kernels import (  # noqa: F401
    kernel_id,
    test_a_kernel_with_odd_habits_starts_runs_and_is_heard,
    test_a_kernel_without_parents_restarts,
    test_a_message_in_an_odd_form_is_read_by_all,
    test_a_question_of_such_a_kernel_reaches_who_asked,
    test_a_reply_that_nobody_can_read_is_an_error,
    test_two_clients_of_a_kernel_without_parents_get_each_their_replies,
    test_what_nobody_can_read_is_logged_and_harms_nothing,
)
from ..server.test_old_kernels import (  # noqa: F401
    test_an_error_of_an_old_kernel,
    test_an_old_kernel_is_adapted_after_a_restart,
    test_buffers_of_an_old_kernel,
    test_execution_on_an_old_kernel,
)
from ..server.test_subshells import (  # noqa: F401
    test_a_request_to_a_subshell_that_is_gone_is_an_error,
    test_a_restart_ends_all_subshells,
)
from ..support.client import Client, tidy_client
from ..support.servers import options
from ..support.stock import BeginStock, StockServer
from .conftest import READY


@pytest.fixture(scope="module")
def server(begin_shared: BeginStock) -> StockServer:
    """One whose kernels may die more often than is usual."""
    return begin_shared(*READY, *options(restart_limit=1000))


@pytest.fixture(scope="module")
def faulty(server: StockServer) -> StockServer:
    return server


@pytest.fixture
async def client(server: StockServer) -> AsyncIterator[Client]:
    async with tidy_client(server) as client:
        yield client
