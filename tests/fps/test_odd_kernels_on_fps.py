"""The tests of odd kernels, on today's Jupyverse."""

from ..server.test_odd_kernels import *  # noqa: F403
