"""The REST and WebSocket routes, on Starlette. They know no host."""
