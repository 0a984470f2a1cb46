"""The tests of WebSockets to kernels, in both protocols, on today's Jupyverse."""

from ..server.test_channels import *  # noqa: F403
