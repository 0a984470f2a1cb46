"""A notebook as an HTTP API."""
