"""The tests of odd requests, on today's Jupyverse."""

from ..server.test_odd_requests import *  # noqa: F403
