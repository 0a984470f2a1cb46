"""The tests of errors by REST, on today's Jupyverse."""

from ..server.test_rest_errors import *  # noqa: F403

# anycorn closes a connection whose request is answered before its end.
del test_a_body_that_is_too_large_is_refused  # noqa: F821
del test_a_body_without_a_length_that_is_too_large_is_refused  # noqa: F821
