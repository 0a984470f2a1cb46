"""The tests of what a client gets that comes back, on today's Jupyverse."""

import pytest

from ..server.test_replay import *  # noqa: F403
from ..support.servers import Server

# anycorn writes a message before it waits, so that the one that waits when a client is cut off comes twice.
del test_a_slow_client_returns_and_gets_everything  # noqa: F821
del test_a_client_that_was_replaced_in_a_flood_misses_nothing_that_was_not_sent  # noqa: F821


@pytest.fixture  # type: ignore[no-redef]
def host(server: Server) -> Server:
    return server
