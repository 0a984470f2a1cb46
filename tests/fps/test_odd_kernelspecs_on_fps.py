"""The tests of odd kernelspecs, on today's Jupyverse."""

from ..server.test_odd_kernelspecs import *  # noqa: F403
