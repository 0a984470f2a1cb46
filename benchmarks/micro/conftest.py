from .kernel import kernel

__all__ = ["kernel"]
