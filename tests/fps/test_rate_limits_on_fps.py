"""The tests of rate limits, on today's Jupyverse."""

from ..server.test_rate_limits import *  # noqa: F403
