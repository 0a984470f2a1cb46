"""A kernel server: launches Jupyter kernels and bridges WebSockets to ZeroMQ."""

__version__ = "0.20.0"
