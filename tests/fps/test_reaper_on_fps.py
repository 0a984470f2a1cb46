"""The tests of a server that is killed, on today's Jupyverse."""

from ..server.test_reaper import *  # noqa: F403
