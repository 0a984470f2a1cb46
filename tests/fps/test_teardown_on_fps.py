"""The tests of the end of a server, and of a start that a wrong option prevents, on today's Jupyverse."""

from ..server.test_teardown import *  # noqa: F403
