"""The tests of kernels kept ready, on today's Jupyverse."""

from ..server.test_prewarmed import *  # noqa: F403
