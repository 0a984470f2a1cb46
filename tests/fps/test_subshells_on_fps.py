"""The tests of subshells, on today's Jupyverse."""

from ..server.test_subshells import *  # noqa: F403
