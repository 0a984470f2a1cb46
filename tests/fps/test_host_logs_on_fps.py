"""The tests of what is logged, on today's Jupyverse."""

from ..server.test_host_logs import *  # noqa: F403
