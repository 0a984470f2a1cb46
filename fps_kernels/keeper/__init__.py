"""The keeper: the process that is the parent of kernels which outlive their server, and the one that talks to them.

Knows nothing of HTTP, kernelspecs, provisioners and policies. What can change is in the server.
"""
