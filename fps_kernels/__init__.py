"""A kernel server: launches Jupyter kernels and bridges WebSockets to ZeroMQ."""

__version__ = "0.20.0"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension. Nothing is imported for it here: all programs import this module."""
    return [{"module": "fps_kernels.hosts.jupyter_server"}]
