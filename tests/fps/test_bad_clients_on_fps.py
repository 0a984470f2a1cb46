"""The tests of clients that misbehave, on today's Jupyverse."""

from ..server.test_bad_clients import *  # noqa: F403
