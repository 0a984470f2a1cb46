"""The tests of WebSockets, on a stock Jupyter Server."""

import pytest

from ..server import test_channels
from ..server.test_channels import *  # noqa: F403
from ..support.servers import options
from ..support.stock import BeginStock, StockServer
from .conftest import READY

ELSEWHERE = [
    # Who is let in, and how others are refused, is jupyter_server's.
    "test_a_foreign_origin_is_refused_before_the_upgrade",
    "test_a_foreign_origin_learns_nothing_about_kernels",
    "test_an_origin_that_only_resembles_an_allowed_one_is_refused",
    "test_an_unknown_kernel_is_refused_before_the_upgrade",
    "test_a_session_id_that_is_too_long_is_refused",
    # It lists no kernel before the answer to its start, which these want to wait for.
    "test_what_is_sent_while_the_kernel_starts_waits_for_it",
]
for name in ELSEWHERE:
    del globals()[name]


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def strict(begin_shared: BeginStock) -> StockServer:
    """As there."""
    return begin_shared(
        *READY,
        *options(
            allow_origin=[test_channels.ALLOWED_ORIGIN],
            allowed_message_types=["execute_request", "comm_open"],
            restart_limit=0,
            shutdown_wait_time_s=0.2,
        ),
    )
