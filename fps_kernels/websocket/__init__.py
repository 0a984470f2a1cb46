"""A WebSocket transport under ASGI, for servers that send and receive many messages. It knows nothing of kernels."""
