"""The tests of kernels' starts, on today's Jupyverse."""

from ..server.test_starts import *  # noqa: F403
