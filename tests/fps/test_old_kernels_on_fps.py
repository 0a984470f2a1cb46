"""The tests of old kernels, on today's Jupyverse."""

from ..server.test_old_kernels import *  # noqa: F403
