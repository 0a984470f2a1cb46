"""The tests of kernels and sessions by REST, as far as the API is the same, on a stock Jupyter Server."""

from ..server.test_rest_kernels import (  # noqa: F401
    test_a_busy_kernel_is_shown_as_busy,
    test_a_connection_file_is_for_its_owner_only,
    test_a_deleted_kernel_is_gone_with_its_process_and_files,
    test_a_kernel_id_may_be_chosen,
    test_all_kernels_are_listed,
    test_an_idle_kernel_survives_an_interrupt,
    test_deleting_a_kernel_deletes_its_sessions,
    test_interrupt_ends_a_cell,
    test_restarts_at_once_leave_one_process,
)
from ..server.test_rest_sessions import (  # noqa: F401
    test_a_known_path_answers_with_its_session,
    test_a_new_session_has_a_ready_kernel,
    test_a_session_attaches_to_a_running_kernel,
    test_a_session_gets_another_kernel_by_id,
    test_a_session_gets_another_kernel_by_name,
    test_a_session_is_renamed,
    test_deleting_a_session_shuts_its_kernel_down,
)
