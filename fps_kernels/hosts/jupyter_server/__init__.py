"""An extension of Jupyter Server, whose kernels it runs. See docs/jupyter-server.md."""

from .extension import _link_jupyter_server_extension, _load_jupyter_server_extension

__all__ = ["_link_jupyter_server_extension", "_load_jupyter_server_extension"]
