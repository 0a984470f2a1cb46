"""The store: what a server writes down of its kernels and sessions, so that the next one finds them."""
