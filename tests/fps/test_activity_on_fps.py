"""The tests of what is activity, on today's Jupyverse."""

from ..server.test_activity import *  # noqa: F403
