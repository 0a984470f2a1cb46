"""Everything about one kernel: its kernelspec, its process, its connection, its messages.

Knows nothing of HTTP, WebSockets or the host.
"""
