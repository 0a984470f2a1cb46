"""What a server does, as numbers for Prometheus."""
