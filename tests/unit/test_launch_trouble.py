"""What a client is told of a process that could not be launched."""

import pytest

from fps_kernels.kernel_driver.launch_trouble import why_not_started


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/opt/nowhere/kernel"), "No such file or directory: kernel"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (PermissionError("not for you"), "not for you"),
        (RuntimeError("no room in /opt/our/cluster"), "no room in cluster"),
        (OSError(), "OSError"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_client_is_told_why_whatever_a_provisioner_raises(error: Exception, said: str) -> None:
    assert why_not_started("python3", "", error) == f"Kernel python3 could not be started: {said}"
