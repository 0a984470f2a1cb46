"""The tests of heartbeats, on today's Jupyverse."""

from ..server.test_heartbeat import *  # noqa: F403
