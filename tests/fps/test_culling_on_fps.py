"""The tests of kernels that nobody uses, on today's Jupyverse."""

from ..server.test_culling import *  # noqa: F403
