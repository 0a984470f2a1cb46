"""The tests of kernelspecs by REST, on today's Jupyverse."""

from ..server.test_rest_kernelspecs import *  # noqa: F403
