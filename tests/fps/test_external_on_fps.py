"""The tests of kernels that others started, on today's Jupyverse."""

from ..server.test_external import *  # noqa: F403
