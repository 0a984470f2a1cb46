"""The tests of kernels that die, hang and flood, on today's Jupyverse."""

from ..server.test_faults import *  # noqa: F403
