"""The web side of a kernel: WebSocket connections and their protocols."""
