"""A server's side of a keeper: the connection to it, and kernels whose processes and sockets are there."""
