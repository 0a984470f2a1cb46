"""The tests of users with names, on today's Jupyverse."""

from ..server.test_identity import *  # noqa: F403
