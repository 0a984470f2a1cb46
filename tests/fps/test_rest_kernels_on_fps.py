"""The tests of kernels by REST, on today's Jupyverse."""

from ..server.test_rest_kernels import *  # noqa: F403
