"""The tests of sessions by REST, on today's Jupyverse."""

from ..server.test_rest_sessions import *  # noqa: F403
