"""A server process of ours: sockets, TLS, uvicorn, logs, limits of the process. Shared by the gateway and `lab`."""
