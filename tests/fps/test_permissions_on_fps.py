"""The tests of users with rights, on today's Jupyverse."""

from ..server.test_permissions import *  # noqa: F403
