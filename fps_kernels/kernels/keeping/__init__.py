"""What of kernels and sessions outlives their server: what is written down, and what the next server makes of it."""
